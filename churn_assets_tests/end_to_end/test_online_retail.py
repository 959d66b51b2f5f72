"""Real input: the UCI Online Retail files, imported and run, against a calculation by numpy.

The first 60 files; all 305 take minutes, and come with ``make test-all``.
"""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from churn_assets.dates import DateRange
from churn_assets.sample.importer import import_files
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS, TABLES, USER_FEATURES
from churn_assets.transforms import labels
from churn_assets_tests.end_to_end import online_retail
from churn_assets_tests.end_to_end.conftest import House
from churn_assets_tests.end_to_end.online_retail import OnlineRetail

FILES = sorted(online_retail.FOLDER.glob("*.csv"))
GOLD = {table.name: table for table in TABLES if table.name != "events"}

pytestmark = pytest.mark.skipif(
    not FILES, reason="shared/data/online-retail is not here, and the product does not ship it"
)


ALL = pytest.param(len(FILES), marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[60, ALL])
def files(request: pytest.FixtureRequest) -> list[Path]:
    return FILES[: request.param]


@pytest.fixture(scope="module")
def expected(files: list[Path]) -> OnlineRetail:
    return online_retail.calculate(files)


@pytest.fixture(scope="module")
def retail(
    make_house: Callable[..., House],
    files: list[Path],
    spark: SparkSession,
    tmp_path_factory: pytest.TempPathFactory,
) -> House:
    found = make_house(
        tmp_path_factory.mktemp("retail"), start_date=dt.date(2010, 12, 1), horizon_days=online_retail.HORIZON
    )
    import_files(files, found.settings.landing_root, lambda: spark, **online_retail.MAPPING)
    found.run()
    return found


def test_every_line_is_landed_and_those_without_a_customer_are_quarantined(
    retail: House, expected: OnlineRetail
) -> None:
    quarantined = retail.content(QUARANTINED_EVENTS)

    assert retail.lake.read(LANDED_EVENTS).count() == expected.lines
    assert retail.lake.read(EVENTS).count() == expected.lines - expected.lines_without_user
    assert quarantined["reason"].value_counts().to_dict() == {"missing_user_id": expected.lines_without_user}


@pytest.mark.parametrize("files", [ALL], indirect=True)
def test_the_whole_of_it_has_the_numbers_that_are_known(retail: House) -> None:
    counts = [retail.lake.read(table).count() for table in (LANDED_EVENTS, EVENTS, QUARANTINED_EVENTS)]

    assert counts == [541_909, 406_829, 135_080]


@pytest.mark.parametrize(
    "name", ["user_daily_activity", "daily_summary", "user_features", "churn_labels", "users"]
)
def test_every_row_and_column_equals_the_calculation(
    retail: House, expected: OnlineRetail, name: str
) -> None:
    calculated = expected.tables[name]
    found = retail.content(GOLD[name])[list(calculated.columns)]

    assert len(found) == len(calculated) > 0
    for column in calculated.columns:
        if column == "country":
            # The calculation names every country at the last moment, as it knows no event ids.
            pairs = zip(found[column], calculated[column], strict=True)
            assert all(country in possible.split("|") for country, possible in pairs)
        elif calculated[column].dtype == float:
            numbers = found[column].astype(float).to_numpy()
            np.testing.assert_allclose(numbers, calculated[column].to_numpy(), 1e-9, 1e-9, err_msg=column)
        else:
            np.testing.assert_array_equal(found[column].to_numpy(), calculated[column].to_numpy(), column)


def test_where_only_purchases_count_the_labels_equal_the_calculation(
    retail: House, expected: OnlineRetail
) -> None:
    calculated = expected.tables["churn_labels, purchases"]
    dates = DateRange(calculated["feature_date"].min(), calculated["feature_date"].max())
    features, events = (retail.lake.read(table) for table in (USER_FEATURES, EVENTS))

    table = labels.churn_labels(features, events, dates, online_retail.HORIZON, event_types=["purchase"])
    found = table.toArrow().sort_by([("user_id", "ascending"), ("feature_date", "ascending")])

    assert found.num_rows == len(calculated) > 0
    for column in calculated.columns:
        np.testing.assert_array_equal(found[column].to_numpy(), calculated[column].to_numpy(), column)
    assert calculated["label"].mean() > expected.tables["churn_labels"]["label"].mean()


def test_the_last_date_is_scored_and_scores_tell_users_apart(retail: House, expected: OnlineRetail) -> None:
    features = expected.tables["user_features"]
    last = features["feature_date"].max()
    predictions = retail.content(GOLD["churn_predictions"])
    of_last_date = predictions[predictions["feature_date"] == last]

    assert len(of_last_date) == (features["feature_date"] == last).sum()
    assert of_last_date["churn_probability"].between(0, 1).all()
    assert of_last_date["churn_probability"].std() > 0.05
