"""The system tables of the bill, with the documented columns, from a file that the test writes.

https://docs.databricks.com/admin/system-tables/billing and …/pricing; of ``usage_metadata`` and
``product_features`` only the fields that matter here.
"""

import datetime as dt
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

FILE = "billing.json"
TABLE = re.compile(r"\bsystem\.billing\.(?P<table>usage|list_prices)\b", re.IGNORECASE)

SCHEMAS = {
    "usage": (
        "record_id STRING, account_id STRING, workspace_id STRING, sku_name STRING, cloud STRING, "
        "usage_start_time TIMESTAMP, usage_end_time TIMESTAMP, usage_date DATE, "
        "custom_tags MAP<STRING, STRING>, usage_unit STRING, usage_quantity DECIMAL(38,18), "
        "usage_metadata STRUCT<cluster_id: STRING, job_id: STRING, warehouse_id: STRING, "
        "instance_pool_id: STRING, node_type: STRING, job_run_id: STRING, endpoint_name: STRING, "
        "budget_policy_id: STRING, job_name: STRING>, "
        "identity_metadata STRUCT<run_as: STRING>, record_type STRING, ingestion_date DATE, "
        "billing_origin_product STRING, product_features STRUCT<is_serverless: BOOLEAN>, usage_type STRING"
    ),
    "list_prices": (
        "price_start_time TIMESTAMP, price_end_time TIMESTAMP, account_id STRING, sku_name STRING, "
        "cloud STRING, currency_code STRING, usage_unit STRING, "
        "pricing STRUCT<default: STRING, promotional: STRUCT<default: STRING>, "
        "effective_list: STRUCT<default: STRING>>"
    ),
}


def frame(session: Any, folder: Path, table: str) -> Any:
    """The table's rows as a DataFrame."""
    file = folder / FILE
    rows = json.loads(file.read_text())[table] if file.exists() else []
    schema = session.createDataFrame([], SCHEMAS[table]).schema
    return session.createDataFrame([_row(schema, row) for row in rows], schema)


def _row(schema: Any, row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(_value(field.dataType, row.get(field.name)) for field in schema.fields)


def _value(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    match kind.typeName():
        case "timestamp":
            return dt.datetime.fromisoformat(value)
        case "date":
            return dt.date.fromisoformat(value)
        case "decimal":
            return Decimal(value)
        case "struct":
            return _row(kind, value)
    return value
