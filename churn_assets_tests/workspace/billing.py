"""The bill of an emulated account: rows as the service writes them, and who may read them.

* A row for each hour, SKU and source (docs.databricks.com/admin/system-tables/billing); a correction is a
  RETRACTION with the quantity below zero and a RESTATEMENT, and the first row stays (…/billing#record-type).
* "no user has access by default": it takes "both a metastore admin and an account admin" to grant the schemas
  (docs.databricks.com/admin/system-tables, "Grant access to system tables").
* Serverless usage has no tags but those of a usage policy (…/serverless-billing), and the job's name, which
  that of clusters has not (…/billing#usage-metadata).
* The text of a refusal is that of Unity Catalog for any schema; which one stands there is not documented.
"""

import datetime as dt
import json
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from churn_assets_tests.workspace.auth import WORKSPACE_ID, Auth
from churn_assets_tests.workspace.runtime.emulated_databricks.billing import FILE, TABLE
from churn_assets_tests.workspace.runtime.emulated_databricks.unity import Unity

ACCOUNT_ID = "23e22ba4-87b9-4cc2-9770-d10b894b7118"
SCHEMA = "system.billing"
NAMED = re.compile(r"\bsystem\b(\.billing\b)?", re.IGNORECASE)


class Billing:
    """The schema ``system.billing``: not there until it is enabled.

    Args:
        folder: of the workspace.
        unity: the metastore.
        auth: who is in which group.

    Attributes:
        account_admins: who may grant it; nobody at first.
    """

    def __init__(self, folder: Path, unity: Callable[[], Unity], auth: Auth) -> None:
        self._file = folder / FILE
        self._unity = unity
        self._auth = auth
        self._lock = threading.Lock()
        self.account_admins: set[str] = set()

    def enable(self) -> None:
        """Make the schema, as an account admin does."""
        self._unity().create("catalog", "system", if_not_exists=True, managed_location="of Databricks")
        self._unity().create("schema", SCHEMA, if_not_exists=True)

    def use(
        self,
        hour: dt.datetime,
        sku: str,
        quantity: str,
        *,
        tags: Mapping[str, str] | None = None,
        record_type: str = "ORIGINAL",
        unit: str = "DBU",
        workspace_id: str = WORKSPACE_ID,
        **metadata: str,
    ) -> None:
        """Add a row: what was used of a SKU in the hour that starts then."""
        is_serverless = "SERVERLESS" in sku
        if is_serverless and tags and "budget_policy_id" not in metadata:
            raise ValueError("Serverless usage has the tags of its policy alone.")
        if "job_name" in metadata and not is_serverless:
            raise ValueError("Only serverless usage has the name of its job.")
        row = {
            "record_id": f"{hour:%Y%m%d%H}-{sku}-{record_type}-{len(self._read()['usage'])}",
            "account_id": ACCOUNT_ID,
            "workspace_id": workspace_id,
            "sku_name": sku,
            "cloud": "AWS",
            "usage_start_time": hour.isoformat(),
            "usage_end_time": (hour + dt.timedelta(hours=1)).isoformat(),
            "usage_date": hour.date().isoformat(),
            "custom_tags": dict(tags or {}),
            "usage_unit": unit,
            "usage_quantity": quantity,
            "usage_metadata": metadata,
            "identity_metadata": {"run_as": "engineer@example.com"},
            "record_type": record_type,
            "ingestion_date": (hour + dt.timedelta(hours=12)).date().isoformat(),
            "billing_origin_product": "JOBS" if "JOBS" in sku else "ALL_PURPOSE",
            "product_features": {"is_serverless": is_serverless},
            "usage_type": "COMPUTE_TIME",
        }
        self._add("usage", row)

    def price(self, sku: str, default: str, start: dt.datetime, end: dt.datetime | None = None) -> None:
        """Add a list price."""
        row = {
            "price_start_time": start.isoformat(),
            "price_end_time": end.isoformat() if end else None,
            "account_id": ACCOUNT_ID,
            "sku_name": sku,
            "cloud": "AWS",
            "currency_code": "USD",
            "usage_unit": "DBU",
            "pricing": {"default": default, "effective_list": {"default": default}},
        }
        self._add("list_prices", row)

    def refusal(self, sql: str, user: str) -> str | None:
        """Why a user may not run a statement, as the warehouse says it; None if it is not about the bill."""
        if re.match(r"\s*(GRANT|REVOKE)\b", sql, re.IGNORECASE) and NAMED.search(sql):
            if user not in self.account_admins:
                return (
                    f"[INSUFFICIENT_PERMISSIONS] Insufficient privileges: User does not have MANAGE on "
                    f"Schema '{SCHEMA}'. SQLSTATE: 42501"
                )
        elif TABLE.search(sql):
            if not self._unity().get("schema", SCHEMA):
                return f"[SCHEMA_NOT_FOUND] The schema `{SCHEMA}` cannot be found. SQLSTATE: 42704"
            if not self._unity().allows(self._auth.principals(user), "SELECT", SCHEMA):
                return (
                    f"[INSUFFICIENT_PERMISSIONS] Insufficient privileges: User does not have USE SCHEMA on "
                    f"Schema '{SCHEMA}'. SQLSTATE: 42501"
                )
        return None

    def _read(self) -> dict[str, list[Any]]:
        return json.loads(self._file.read_text()) if self._file.exists() else {"usage": [], "list_prices": []}

    def _add(self, table: str, row: dict[str, Any]) -> None:
        with self._lock:
            rows = self._read()
            rows[table].append(row)
            self._file.write_text(json.dumps(rows))
