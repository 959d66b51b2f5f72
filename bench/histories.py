"""Random histories of a platform with the real ledger: each has to end as a rebuild, and fail without a rule.

    .venv/bin/python -m bench.histories --count 200
    .venv/bin/python -m bench.histories --without-each-rule

The first exits with 1 if any history ends with other tables than a rebuild. The second leaves out one rule of
the ledger after the other, and exits with 1 if no history notices.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from churn_assets_tests.automation.histories import FIRST, LEFT_OUT, differences_after
from churn_assets_tests.conftest import settings_in


def main() -> None:
    """Print what went wrong, if anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="The first seed.")
    parser.add_argument("--without-each-rule", action="store_true")
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.count)
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_in(Path(folder), start_date=FIRST, horizon_days=5, deployment="local")
        started, failed = time.monotonic(), 0
        for rule in LEFT_OUT if arguments.without_each_rule else ():
            wrong = ((seed, differences_after(seed, settings, rule)) for seed in seeds)
            seed, noticed = next((one for one in wrong if one[1]), (None, ["NO HISTORY FAILS"]))
            failed += seed is None
            print(f"without the rule that {rule}, history {seed}: {noticed[0]}", flush=True)
        for seed in () if arguments.without_each_rule else seeds:
            if noticed := differences_after(seed, settings):
                failed += 1
                print(f"history {seed}: {'; '.join(noticed)}", flush=True)
        print(f"{len(seeds)} histories, {failed} failures", flush=True)
        print(f"{time.monotonic() - started:.0f} s")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
