"""The pipeline in DuckDB: SQL over files, whose results delta-rs writes as Delta tables."""

import datetime as dt

import duckdb
from deltalake import DeltaTable, write_deltalake

from bench.pipeline.job import ACTIVITY, BRONZE, FEATURES, QUARANTINE, SILVER, USERS, Job, Stages
from churn_assets.contracts import Table

TYPED = """
    CREATE OR REPLACE TEMP TABLE typed AS
    WITH parsed AS (
        SELECT *, json_valid(_raw) AS is_json, from_json(
            CASE WHEN json_valid(_raw) THEN _raw END,
            '{"event_id": "VARCHAR", "user_id": "BIGINT", "event_ts": "VARCHAR", "event_type": "VARCHAR",
              "country": "VARCHAR", "amount": "DECIMAL(18,2)"}'
        ) AS fields
        FROM bronze
    ), timed AS (
        SELECT *, try_strptime(fields.event_ts, '%Y-%m-%dT%H:%M:%S.%gZ') AS moment FROM parsed
    )
    SELECT
        fields.event_id AS event_id,
        fields.user_id AS user_id,
        moment AS event_ts,
        moment::DATE AS event_date,
        fields.event_type AS event_type,
        fields.country AS country,
        fields.amount AS amount,
        CASE
            WHEN NOT is_json THEN 'corrupt'
            WHEN coalesce(fields.event_id, '') = '' THEN 'missing_event_id'
            WHEN fields.user_id IS NULL THEN 'missing_user_id'
            WHEN moment IS NULL THEN 'bad_event_ts'
            WHEN moment < TIMESTAMP '2000-01-01' THEN 'implausible_event_ts'
            WHEN moment > _ingested_at + INTERVAL 1 HOUR THEN 'future_event_ts'
        END AS reason,
        CASE WHEN reason IS NOT NULL THEN _raw END AS _raw,
        CASE WHEN reason IS NOT NULL THEN _source_file END AS _source_file,
        _ingested_at
    FROM timed
"""

BAD = """
    SELECT reason, event_id, _raw, _source_file, _ingested_at::TIMESTAMPTZ AS _ingested_at
    FROM typed WHERE reason IS NOT NULL
"""

# Copies of an event are equal, so any_value of all columns is one of them.
NEW_EVENTS = """
    SELECT
        event_id,
        any_value(user_id) AS user_id,
        any_value(event_ts)::TIMESTAMPTZ AS event_ts,
        any_value(event_date) AS event_date,
        any_value(event_type) AS event_type,
        any_value(country) AS country,
        min(_ingested_at)::TIMESTAMPTZ AS _ingested_at,
        any_value(amount) AS amount
    FROM typed WHERE reason IS NULL AND event_id NOT IN (FROM known) GROUP BY event_id
"""

ALL_USERS = """
    SELECT
        user_id,
        min(event_date) AS first_seen_date,
        max(event_date) AS last_seen_date,
        arg_max(country, event_ts) FILTER (country <> '') AS country
    FROM silver GROUP BY user_id
"""

DAYS = """
    SELECT
        user_id,
        event_date,
        count(*) AS events,
        count(*) FILTER (event_type = 'purchase') AS purchases,
        sum(amount)::DECIMAL(28, 2) AS amount
    FROM silver GROUP BY user_id, event_date
"""

# Of each active day, what the user had come to at its end.
RUNNING = """
    CREATE OR REPLACE TEMP TABLE running AS
    WITH gaps AS (
        SELECT *, event_date - lag(event_date) OVER of_user AS gap
        FROM activity WINDOW of_user AS (PARTITION BY user_id ORDER BY event_date)
    )
    SELECT
        user_id,
        event_date AS day,
        lead(event_date) OVER of_user AS next_day,
        first(event_date) OVER of_user AS first_seen,
        (sum(events) OVER of_user)::BIGINT AS events,
        (sum(purchases) OVER of_user)::BIGINT AS purchases,
        sum(amount) OVER of_user AS amount,
        count(amount) OVER of_user AS with_amount,
        row_number() OVER of_user AS active_days,
        (sum(gap * gap) OVER of_user)::BIGINT AS gap_squares,
        max(gap) OVER of_user AS longest_gap,
        max(CASE WHEN purchases > 0 THEN event_date END) OVER of_user AS last_purchase
    FROM gaps WINDOW of_user AS (PARTITION BY user_id ORDER BY event_date)
"""

# A date at which the user's last day is one of the last 30 is a row, less what lay before each window.
KNOWN = """
    WITH known AS (
        SELECT *, unnest(generate_series(
            greatest(day, $first), least(day + 29, coalesce(next_day - 1, day + 29), $last), INTERVAL 1 DAY
        ))::DATE AS feature_date
        FROM running
    ), edges AS (
        SELECT
            *,
            feature_date - 7 AS edge_7,
            feature_date - 30 AS edge_30,
            feature_date - 90 AS edge_90,
            feature_date - 365 AS edge_365,
            active_days - 1 AS gaps,
            day - first_seen AS lifetime,
            feature_date - day AS silent
        FROM known
    ), means AS (
        SELECT *, CASE WHEN gaps > 0 THEN lifetime / gaps END AS mean_gap FROM edges
    )
    SELECT
        k.user_id,
        k.feature_date,
        k.events - coalesce(m.events, 0) AS event_count_30d,
        k.active_days - coalesce(m.active_days, 0) AS active_days_30d,
        k.silent AS days_since_last_event,
        k.purchases - coalesce(m.purchases, 0) AS purchase_count_30d,
        k.feature_date - k.first_seen AS account_age_days,
        k.events - coalesce(w.events, 0) AS rolling_7d_events,
        k.active_days - coalesce(q.active_days, 0) AS active_days_90d,
        k.active_days - coalesce(y.active_days, 0) AS active_days_365d,
        k.active_days AS active_days_total,
        k.events AS event_count_total,
        k.purchases AS purchase_count_total,
        k.mean_gap AS mean_gap_days,
        CASE WHEN k.gaps > 1 THEN
            sqrt((k.gaps * k.gap_squares - k.lifetime * k.lifetime) / (k.gaps * (k.gaps - 1)))
        END AS gap_std_days,
        k.longest_gap::DOUBLE AS longest_gap_days,
        k.silent / k.mean_gap AS overdue_ratio,
        k.feature_date - k.last_purchase AS days_since_last_purchase,
        CASE WHEN k.with_amount > coalesce(m.with_amount, 0) THEN
            (k.amount - coalesce(m.amount, 0))::DOUBLE
        END AS amount_30d,
        k.amount::DOUBLE AS amount_total
    FROM means k
    ASOF LEFT JOIN running w ON k.user_id = w.user_id AND k.edge_7 >= w.day
    ASOF LEFT JOIN running m ON k.user_id = m.user_id AND k.edge_30 >= m.day
    ASOF LEFT JOIN running q ON k.user_id = q.user_id AND k.edge_90 >= q.day
    ASOF LEFT JOIN running y ON k.user_id = y.user_id AND k.edge_365 >= y.day
"""


def stages(job: Job) -> Stages:
    """What does each stage, all in one connection."""
    job.lake.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(config={"temp_directory": str(job.lake / "duckdb-spill")})
    pipeline = _Pipeline(job, connection)
    return {
        "bronze": pipeline.bronze,
        "silver": pipeline.silver,
        "users": pipeline.users,
        "activity": pipeline.activity,
        "features": pipeline.features,
    }


class _Pipeline:
    def __init__(self, job: Job, connection: duckdb.DuckDBPyConnection) -> None:
        self._job, self._connection = job, connection

    def bronze(self) -> None:
        """Every line as it landed, with its file and the moment."""
        now = dt.datetime.now(dt.UTC)
        # A separator that no line has makes one column of a line.
        lines = """
            SELECT _raw, filename AS _source_file, $now::TIMESTAMPTZ AS _ingested_at,
                $today::DATE AS _processing_date
            FROM read_csv($files, columns = {'_raw': 'VARCHAR'}, delim = '\x01', quote = '', escape = '',
                header = false, auto_detect = false, filename = true)
        """
        asked = {"files": self._job.files(), "now": now.isoformat(), "today": now.date()}
        rows = self._connection.sql(lines, params=asked)
        write_deltalake(self._job.path(BRONZE), rows, mode="append", partition_by="_processing_date")

    def silver(self) -> None:
        """New events, one an event_id, and the lines that are none."""
        self._read("bronze", BRONZE)
        self._connection.execute(TYPED)
        write_deltalake(self._job.path(QUARANTINE), self._connection.sql(BAD), mode="append")
        self._connection.execute("CREATE OR REPLACE TEMP VIEW known AS SELECT ''::VARCHAR LIMIT 0")
        if DeltaTable.is_deltatable(self._job.path(SILVER)):
            self._read("silver", SILVER)
            self._connection.execute("CREATE OR REPLACE TEMP VIEW known AS SELECT event_id FROM silver")
        new = self._connection.sql(NEW_EVENTS)
        write_deltalake(self._job.path(SILVER), new, mode="append", partition_by="event_date")
        self._connection.execute("DROP TABLE typed")

    def users(self) -> None:
        """Each user's first and last day and latest country."""
        self._read("silver", SILVER)
        write_deltalake(self._job.path(USERS), self._connection.sql(ALL_USERS), mode="overwrite")

    def activity(self) -> None:
        """What each user did on each day."""
        self._read("silver", SILVER)
        days = self._connection.sql(DAYS)
        write_deltalake(self._job.path(ACTIVITY), days, mode="overwrite", partition_by="event_date")

    def features(self) -> None:
        """What was known of each user at the end of each date."""
        self._read("activity", ACTIVITY)
        self._connection.execute(RUNNING)
        first, last = self._job.dates
        known = self._connection.sql(KNOWN, params={"first": first, "last": last})
        write_deltalake(self._job.path(FEATURES), known, mode="overwrite", partition_by="feature_date")

    def _read(self, name: str, table: Table) -> None:
        """Name a Delta table, by the Parquet files of its latest version."""
        files = DeltaTable(self._job.path(table)).file_uris()
        listed = ", ".join(f"'{file}'" for file in files)
        self._connection.execute(
            f"CREATE OR REPLACE TEMP VIEW {name} AS FROM read_parquet([{listed}], hive_partitioning = true)"
        )
