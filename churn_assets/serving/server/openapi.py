"""The server's pages as an OpenAPI document. It says nothing of the model, which needs the token."""

from functools import cache
from typing import Any

from churn_assets.serving.contract import (
    ENDPOINT_NAME,
    FEATURE_DATE_HEADER,
    VERSION_HEADER,
    WITHOUT_HISTORY_HEADER,
)

# Text of a number is one, true is 1, and null is looked up, or scored where the model takes it. Fields that
# are neither a feature nor user_id may hold anything, and so may other keys of the body.
VALUE = {"type": ["number", "string", "boolean", "null"]}
RECORD = {
    "type": "object",
    "description": "A user_id, or the features of the last 30 days, alone or with the whole history.",
    "properties": {"user_id": {"type": ["integer", "string", "number", "null"]}},
}
RECORDS = {"type": "array", "items": RECORD, "minItems": 1}
PARAMS = {"type": ["object", "null"], "properties": {"explain": {"type": ["boolean", "null"]}}}

COLUMNS = {"type": "object", "minProperties": 1}
SPLIT = {
    "type": "object",
    "properties": {
        "columns": {"type": "array", "items": {"type": "string"}},
        "data": {"type": "array", "items": {"type": "array", "items": VALUE}, "minItems": 1},
        "index": {"type": ["array", "null"], "items": {}},
    },
    "required": ["columns", "data"],
    "additionalProperties": False,
}


def _format(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: schema, "params": PARAMS}, "required": [name]}


REQUEST: dict[str, Any] = {
    # Of the four exactly one.
    "oneOf": [
        _format("dataframe_records", RECORDS),
        _format("dataframe_split", SPLIT),
        _format("inputs", {"oneOf": [RECORDS, COLUMNS]}),
        _format("instances", {"oneOf": [RECORDS, COLUMNS]}),
    ],
    "examples": [{"dataframe_records": [{"user_id": 42}]}],
}

PREDICTIONS = {
    "type": "object",
    "properties": {
        "predictions": {
            "type": "array",
            "items": {
                "oneOf": [
                    {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                    {"type": "array", "items": {"type": "number"}},
                ]
            },
            "description": "The churn probability of each row, or with params.explain what each feature adds "
            "to its log-odds; null where errors has an entry for it.",
        },
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/RowError"}},
    },
    "required": ["predictions"],
}

ROW_ERROR = {
    "type": "object",
    "properties": {
        "row": {"type": "integer"},
        "user_id": {"type": "integer"},
        "status": {"type": "integer"},
        "error_code": {"type": "string"},
        "message": {"type": "string"},
    },
    "required": ["row", "user_id", "status", "error_code", "message"],
}

ERROR = {
    "type": "object",
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
    "required": ["error_code", "message"],
}

REFUSALS = {
    "400": "A field is missing, no number, null or outside its range; the message names it and its row",
    "401": "No token",
    "403": "Another token",
    "404": "No such endpoint, or no such user in the whole request",
    "408": "The body did not arrive",
    "409": "Another change is under way",
    "413": "The body is too large, as it came or unpacked",
    "415": "The body is no JSON, or compressed otherwise than by gzip",
    "503": "No model, or no features to look up, yet",
}


@cache
def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    api = f"/api/2.0/serving-endpoints/{ENDPOINT_NAME}"
    return {
        "openapi": "3.1.0",
        "info": {"title": ENDPOINT_NAME, "version": "1"},
        "security": [{"token": []}],
        "paths": {
            f"/serving-endpoints/{ENDPOINT_NAME}/invocations": {"post": _scoring("Score rows")},
            "/invocations": {"post": _scoring("Score rows, at MLflow's own address")},
            "/api/2.0/serving-endpoints": {"get": _page("The endpoints, in Databricks' shape", "401", "403")},
            api: {"get": _page("The endpoint, in Databricks' shape", "401", "403")},
            f"{api}/config": {"put": _put_config()},
            "/ping": {"get": _open("The worker lives")},
            "/health": {"get": _open("A model is published", "503")},
            "/version": {"get": _open("MLflow's version")},
            "/metrics": {"get": _open("Metrics for Prometheus")},
        },
        "components": {
            "schemas": {"Predictions": PREDICTIONS, "RowError": ROW_ERROR, "Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _scoring(summary: str) -> dict[str, Any]:
    headers = {
        VERSION_HEADER: {"schema": {"type": "string"}, "description": "The version that answered"},
        FEATURE_DATE_HEADER: {
            "schema": {"type": "string", "format": "date"},
            "description": "Of which date the features are that were looked up",
        },
        WITHOUT_HISTORY_HEADER: {
            "schema": {"type": "integer", "minimum": 1},
            "description": "How many rows had no history and were answered by the model of the last 30 days; "
            "not sent where none were",
        },
    }
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": REQUEST}}},
        "responses": {
            "200": {
                "description": "A probability for each row",
                "headers": headers,
                "content": _json({"$ref": "#/components/schemas/Predictions"}),
            },
            **_refusals("400", "401", "403", "404", "408", "413", "415", "503"),
        },
    }


def _put_config() -> dict[str, Any]:
    entity = {
        "type": "object",
        "properties": {
            "entity_name": {"type": "string"},
            "entity_version": {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"},
            "name": {"type": "string"},
        },
        "required": ["entity_name", "entity_version"],
    }
    schema = {
        "type": "object",
        "properties": {"served_entities": {"type": "array", "items": entity, "minItems": 1, "maxItems": 2}},
        "required": ["served_entities"],
    }
    return {
        "summary": "Serve another version",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "200": {"description": "Under way; look at the endpoint's state", "content": _json({})},
            **_refusals("400", "401", "403", "408", "409", "413", "415"),
        },
    }


def _page(summary: str, *refusals: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": _json({})}, **_refusals(*refusals)},
    }


def _open(summary: str, *refusals: str) -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    responses = {status: {"description": REFUSALS[status], "content": text} for status in refusals}
    return {
        "summary": summary,
        "security": [],
        "responses": {"200": {"description": summary, "content": text}, **responses},
    }


def _refusals(*statuses: str) -> dict[str, Any]:
    content = _json({"$ref": "#/components/schemas/Error"})
    return {status: {"description": REFUSALS[status], "content": content} for status in statuses}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
