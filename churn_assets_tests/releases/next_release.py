"""A release to come: this one, with a feature more.

A copy of the package with some lines of its sources replaced, as whoever adds a feature would. Patched in
place it would not be that: contracts are read in a dozen modules when they are imported.
"""

import shutil
from pathlib import Path

import churn_assets

FEATURE = "events_per_active_day"

CONTRACT = f'''    Column(
        "{FEATURE}",
        "double",
        "Events an active day.",
        minimum=1,
        trained=True,
        sources=(USER_DAILY_ACTIVITY["events"], USER_DAILY_ACTIVITY["event_date"]),
    ),
)

ALL_FEATURES'''
ACTIVE_DAYS, EVENTS = (
    f"(history.{name}[row] - seen.of(history.{name}))" for name in ("active_days", "events")
)
TRANSFORM = f'''            "{FEATURE}": {EVENTS} / {ACTIVE_DAYS},
            "amount_total": '''

REPLACED = {
    "tables/features.py": {")\n\nALL_FEATURES": CONTRACT},
    "transforms/running.py": {'            "amount_total": ': TRANSFORM},
}


def with_a_feature_more(folder: Path) -> Path:
    """The release, as a folder that Python can import ``churn_assets`` from."""
    package = folder / "churn_assets"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(churn_assets.__file__).parent, package, ignore=ignored)
    for name, replaced in REPLACED.items():
        source = (package / name).read_text()
        for before, after in replaced.items():
            assert source.count(before) == 1, f"{name} no longer has {before!r} once"
            source = source.replace(before, after)
        (package / name).write_text(source)
    return folder
