"""The database of CHURN_DATABASE_URL: what is refused is one line, and no password is in any."""

import pytest
from sqlalchemy.engine import make_url

from churn_assets import postgres, settings, stored_databases
from churn_assets.errors import SettingsError
from churn_assets.postgres import DatabaseUnavailableError, Postgres
from churn_assets.stored_databases import UnreadableDatabaseError
from churn_assets_tests.conftest import NOBODY_LISTENS, MakeSettings
from churn_assets_tests.postgres_server import PASSWORD, PostgresServer

URL = "postgresql://churn:s%40fe%2F%25@db.example:5433/lake?sslmode=require"
SECRET = "s@fe/%"


def test_both_libraries_get_the_same_database_and_the_schema() -> None:
    database = Postgres(URL, "mlflow")

    url = make_url(database.for_sqlalchemy())
    assert (url.drivername, url.username, url.password) == ("postgresql+psycopg2", "churn", SECRET)
    assert (url.host, url.port, url.database) == ("db.example", 5433, "lake")
    assert dict(url.query) == {"sslmode": "require", "options": "-csearch_path=mlflow"}
    assert database.for_libpq().startswith("postgresql://churn:")
    assert str(database) == "db.example:5433/lake"


def test_a_server_on_a_socket_is_named_by_its_folder() -> None:
    database = Postgres("postgresql:///lake?host=/run/postgresql")

    assert str(database) == "/run/postgresql/lake"
    assert make_url(database.for_sqlalchemy()).query["host"] == "/run/postgresql"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://churn:s3cret@h/lake", "has the scheme 'mysql'"),
        ("postgresql://churn:s3cret@h", "names no database"),
        ("postgresql://churn:s3cret@h:port/lake", "cannot be read"),
        ("postgresql://churn:s3cret@[h/lake", "cannot be read"),
        ("postgresql://churn:a#s3cret@h/lake", "cannot be read"),
    ],
)
def test_a_url_that_cannot_be_one_is_refused_without_being_shown(
    url: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_DATABASE_URL", url)

    with pytest.raises(SettingsError, match=says) as refused:
        settings.load(_env_file=None)

    assert str(refused.value).startswith("CHURN_DATABASE_URL: ")
    # The trace, with what caused it, goes to the lake's log.
    assert "s3cret" not in f"{refused.value}{refused.value.__cause__}"


def test_settings_show_and_send_no_password(make_settings: MakeSettings) -> None:
    found = make_settings(database_url=URL, mlflow_tracking_uri="")

    told = f"{found!r}{found.as_env()}{found.database!r}{found.database}"
    assert SECRET not in told
    assert "s%40fe" not in told


def test_what_mlflow_exports_of_it_is_not_taken_for_a_server_of_the_users(
    make_settings: MakeSettings,
) -> None:
    exported = Postgres(URL, postgres.MLFLOW_SCHEMA).for_sqlalchemy()

    assert make_settings(database_url=URL, mlflow_tracking_uri=exported).mlflow_tracking_uri == ""
    chosen = make_settings(database_url=URL, mlflow_tracking_uri="http://127.0.0.1:5000")
    assert chosen.mlflow_tracking_uri == "http://127.0.0.1:5000"


def refusal(url: str) -> str:
    """The line with which a connection is refused."""
    with pytest.raises(DatabaseUnavailableError) as refused, postgres.connected(Postgres(url)):
        pass
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_wrong_password_is_one_line(postgres_server: PostgresServer) -> None:
    refused = refusal(postgres_server.url("postgres", password="wr0ng"))

    assert "password authentication failed" in refused

    assert "wr0ng" not in refused


def test_a_missing_database_is_one_line(postgres_server: PostgresServer) -> None:
    refused = refusal(postgres_server.url("nowhere"))

    assert 'database "nowhere" does not exist' in refused

    assert PASSWORD not in refused


def test_a_server_that_is_down_is_one_line() -> None:
    address = NOBODY_LISTENS.removeprefix("http://")

    refused = refusal(f"postgresql://churn:s3cret@{address}/lake")

    assert f"{address}/lake" in refused
    assert "Connection refused" in refused
    assert "s3cret" not in refused


def test_questions_are_asked_as_of_sqlite(database_url: str) -> None:
    with stored_databases.reading(Postgres(database_url)) as look:
        found = look.execute("SELECT ?, 'a' LIKE 'a%'", (7,)).fetchone()

    assert found == (7, True)


def test_a_table_that_is_not_there_is_no_answer(database_url: str) -> None:
    gone = pytest.raises(UnreadableDatabaseError, match=r"lake_\d+ cannot be read: .*does not exist")
    with gone, stored_databases.reading(Postgres(database_url)) as look:
        look.execute("SELECT * FROM nothing")
