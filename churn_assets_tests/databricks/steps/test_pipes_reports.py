"""What Pipes carries: metadata of every kind, and errors with what caused them."""

from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.metadata.external_metadata import metadata_map_from_external
from dagster._utils.error import serializable_error_info_from_exc_info

from churn_assets.databricks.steps.churn_remote.pipes_reports import as_exception, as_pipes

COLUMN = dg.TableColumn(
    "user_id",
    "bigint",
    description="whose",
    constraints=dg.TableColumnConstraints(nullable=False, unique=True, other=["positive"]),
    tags={"pii": "no"},
)
KINDS: list[Any] = [
    dg.MetadataValue.text("t"),
    dg.MetadataValue.url("http://x"),
    dg.MetadataValue.path("/x"),
    dg.MetadataValue.json({"a": [1, None]}),
    dg.MetadataValue.md("**x**"),
    dg.MetadataValue.float(0.1),
    dg.MetadataValue.int(2**40),
    dg.MetadataValue.bool(False),
    dg.MetadataValue.null(),
    dg.MetadataValue.timestamp(1.5),
    dg.MetadataValue.dagster_run("0b8e7a34-7c05-4a3e-9d47-6f6a2a5f9d11"),
    dg.MetadataValue.asset(dg.AssetKey(["main", "gold", "t"])),
    dg.MetadataValue.table_schema(dg.TableSchema([COLUMN])),
    dg.MetadataValue.table([dg.TableRecord({"user_id": 7})], dg.TableSchema([COLUMN])),
    dg.MetadataValue.column_lineage(
        dg.TableColumnLineage({"user_id": [dg.TableColumnDep(dg.AssetKey(["a", "b"]), "id")]})
    ),
]


@pytest.mark.parametrize("value", KINDS, ids=lambda value: type(value).__name__)
def test_metadata_comes_back_as_it_was(value: Any) -> None:
    assert metadata_map_from_external(as_pipes({"it": value})) == {"it": value}


def test_a_kind_that_pipes_does_not_know_is_text() -> None:
    job = dg.MetadataValue.job("a_job", "a_place")
    assert as_pipes({"it": job})["it"]["type"] == "text"


def test_an_error_keeps_what_caused_it() -> None:
    def fail() -> None:
        raise RuntimeError("outer") from ValueError("inner")

    with pytest.raises(RuntimeError) as raised:
        fail()
    told = as_exception(serializable_error_info_from_exc_info((raised.type, raised.value, raised.tb)))
    assert (told["name"], told["cause"]["name"]) == ("RuntimeError", "ValueError")
    assert told["cause"]["message"].strip() == "ValueError: inner"
