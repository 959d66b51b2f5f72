"""The peers of ``bench.pipeline`` do the platform's work: on the same few events their tables are equal."""

from pathlib import Path

import pytest
from deltalake import DeltaTable

from bench.pipeline.compare import Totals, differences, totals
from bench.pipeline.events import Landed, landed_events
from bench.pipeline.job import FEATURES, location
from bench.pipeline.measure import PARTS, REST, Measured, ProgramError
from bench.pipeline.programs import PLATFORM, Program, lake_in, program
from bench.pipeline.table import table


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Landed:
    return landed_events(tmp_path_factory.mktemp("events"), 6_000)


@pytest.fixture(scope="module")
def platform(landed: Landed, tmp_path_factory: pytest.TempPathFactory) -> tuple[Measured, Totals]:
    folder = tmp_path_factory.mktemp(PLATFORM)
    measured = program(PLATFORM).run(landed, folder)
    return measured, totals(lake_in(folder))


@pytest.mark.parametrize("peer", ["polars", "duckdb", "pandas"])
def test_a_peer_makes_the_platforms_tables(
    platform: tuple[Measured, Totals], landed: Landed, tmp_path: Path, peer: str
) -> None:
    program(peer).run(landed, tmp_path)
    assert differences(totals(lake_in(tmp_path)), platform[1]) == []


def test_a_value_that_is_off_in_one_row_is_a_difference(landed: Landed, tmp_path: Path) -> None:
    program("duckdb").run(landed, tmp_path)
    lake = lake_in(tmp_path)
    before = totals(lake)
    DeltaTable(location(lake, FEATURES)).update(
        {"gap_std_days": "gap_std_days + 1"}, predicate="user_id = 5 AND feature_date = '2026-04-30'"
    )
    (difference,) = differences(totals(lake), before)
    assert difference.startswith("gold.user_features.gap_std_days: sum ")


def test_every_second_of_the_platform_is_in_one_part(platform: tuple[Measured, Totals]) -> None:
    measured, _ = platform
    assert list(measured.parts) == [part for part in PARTS if part != REST]
    assert all(seconds > 0 for seconds in measured.parts.values())
    assert sum(measured.parts.values()) < measured.wall
    assert f"{measured.wall:.1f}" in table({PLATFORM: [measured]}, PLATFORM)


def test_a_program_that_fails_says_why(landed: Landed, tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"No module named 'bench\.pipeline\.peers\.sas'"):
        Program("sas").run(landed, tmp_path)
