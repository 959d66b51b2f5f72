"""The bodies that the server's routes take and return, as types: ``openapi.py`` makes its schemas from them.

A reply is a plain dict, so that its type costs nothing at run time.
"""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
from msgspec import UNSET, Meta, UnsetType

from churn_assets.serving.published.state import Entity

# Text of a number counts as that number, true as 1; null is looked up, or scored where the model takes it.
Value = float | str | bool | None


class Record(TypedDict):
    """A user_id, or the features of the last 30 days, alone or with the whole history."""

    user_id: NotRequired[int | str | float | None]


Records = Annotated[list[Record], Meta(min_length=1, examples=[[{"user_id": 42}]])]
Columns = Annotated[dict[str, Any], Meta(min_length=1)]


class Split(msgspec.Struct, forbid_unknown_fields=True):
    """A table as pandas splits it."""

    columns: list[str]
    data: Annotated[list[list[Value]], Meta(min_length=1)]
    index: list[Any] | UnsetType | None = UNSET


class Params(TypedDict):
    """Parameters of the model."""

    explain: NotRequired[bool | None]


class RecordsBody(TypedDict):
    """One object for each row."""

    dataframe_records: Records
    params: NotRequired[Params | None]


class SplitBody(TypedDict):
    """Column names once, then one list for each row."""

    dataframe_split: Split
    params: NotRequired[Params | None]


class InputsBody(TypedDict):
    """One object for each row, or one list for each column."""

    inputs: Records | Columns
    params: NotRequired[Params | None]


class InstancesBody(TypedDict):
    """TensorFlow Serving's name for ``inputs``; all rows have the same fields."""

    instances: Records | Columns
    params: NotRequired[Params | None]


# A request has exactly one of them. Keys that are not listed may hold anything.
SCORING_BODIES = (RecordsBody, SplitBody, InputsBody, InstancesBody)

# A probability, null for an unknown user, or the contribution of each feature.
Prediction = Annotated[float, Meta(ge=0, le=1)] | None | list[float]


class RowError(TypedDict):
    """Why a row has no prediction."""

    row: int
    user_id: int
    status: int
    error_code: str
    message: str


class Predictions(TypedDict):
    """The predictions in the order of the request's rows."""

    predictions: Annotated[
        list[Prediction],
        Meta(
            description="The churn probability of each row, or with params.explain what each feature adds "
            "to its log-odds; null where errors has an entry for it."
        ),
    ]
    errors: NotRequired[list[RowError]]


class TrafficRoute(msgspec.Struct):
    """The share of the requests that one served entity answers, in percent."""

    traffic_percentage: int
    served_model_name: str = ""
    served_entity_name: str = ""


class Traffic(msgspec.Struct):
    """The shares of all served entities."""

    routes: list[TrafficRoute]


class ConfigBody(msgspec.Struct):
    """The configuration to serve: one entity that answers, and at most one that scores in the shadow."""

    served_entities: Annotated[list[Entity], Meta(extra_json_schema={"minItems": 1, "maxItems": 2})]
    traffic_config: Traffic | UnsetType | None = UNSET


class EntityState(TypedDict):
    """Whether a served entity is ready."""

    deployment: Literal["DEPLOYMENT_READY", "DEPLOYMENT_CREATING"]
    deployment_state_message: str


class EntityDetails(TypedDict):
    """A served entity in Databricks' shape; times are milliseconds since 1970."""

    entity_name: str
    entity_version: str
    name: str
    workload_size: str
    scale_to_zero_enabled: bool
    creation_timestamp: int
    state: EntityState


class RouteDetails(TypedDict):
    """The share of the requests that a served entity gets, in percent."""

    served_model_name: str
    served_entity_name: str
    traffic_percentage: int


class TrafficDetails(TypedDict):
    """The shares of all served entities."""

    routes: list[RouteDetails]


class ConfigDetails(TypedDict):
    """A configuration in Databricks' shape; only a pending one has a start."""

    served_entities: list[EntityDetails]
    traffic_config: TrafficDetails
    config_version: int
    start_time: NotRequired[int]


class EndpointState(TypedDict):
    """Whether the endpoint answers, and how its last update went."""

    ready: Literal["READY", "NOT_READY"]
    config_update: Literal["IN_PROGRESS", "NOT_UPDATING", "UPDATE_FAILED"]


class EndpointDetails(TypedDict):
    """The endpoint in Databricks' shape; times are milliseconds since 1970."""

    id: str
    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    state: EndpointState
    route_optimized: bool
    permission_level: str
    config: NotRequired[ConfigDetails]
    pending_config: NotRequired[ConfigDetails]


class EndpointList(TypedDict):
    """All endpoints of this server: one."""

    endpoints: list[EndpointDetails]


class Logs(TypedDict):
    """The log of a served entity."""

    logs: str
