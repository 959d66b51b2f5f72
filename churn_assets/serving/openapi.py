"""The server's pages as an OpenAPI document. It says nothing of the model, which needs the token."""

from functools import cache
from typing import Any

from churn_assets.serving.contract import ENDPOINT_NAME, FEATURE_DATE_HEADER, VERSION_HEADER

NUMBER_OR_ROW = {"type": "object", "additionalProperties": {"type": "number"}}
RECORDS = {"type": "array", "items": NUMBER_OR_ROW, "minItems": 1}

REQUEST: dict[str, Any] = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"dataframe_records": RECORDS},
            "required": ["dataframe_records"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {
                "dataframe_split": {
                    "type": "object",
                    "properties": {
                        "columns": {"type": "array", "items": {"type": "string"}},
                        "data": {
                            "type": "array",
                            "items": {"type": "array", "items": {"type": "number"}},
                            "minItems": 1,
                        },
                        "index": {"type": "array", "items": {}},
                    },
                    "required": ["columns", "data"],
                    "additionalProperties": False,
                }
            },
            "required": ["dataframe_split"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {
                "inputs": {
                    "oneOf": [
                        RECORDS,
                        {
                            "type": "object",
                            "additionalProperties": {
                                "oneOf": [
                                    {"type": "number"},
                                    {"type": "array", "items": {"type": "number"}},
                                ]
                            },
                        },
                    ]
                }
            },
            "required": ["inputs"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"instances": RECORDS},
            "required": ["instances"],
            "additionalProperties": False,
        },
    ],
    "examples": [{"dataframe_records": [{"user_id": 42}]}],
}

PREDICTIONS = {
    "type": "object",
    "properties": {
        "predictions": {
            "type": "array",
            "items": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "description": "The churn probability of each row; null where errors has an entry for it.",
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
    "400": "A field is missing, unknown, no number, null or infinite; the message names it",
    "401": "No token",
    "403": "Another token",
    "404": "No such endpoint, or no such user in the whole request",
    "408": "The body did not arrive",
    "409": "Another change is under way",
    "413": "The body is too large",
    "415": "The body is no JSON",
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
