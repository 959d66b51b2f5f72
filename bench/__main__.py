"""Every benchmark, one after the other: ``make bench``."""

import importlib
import pkgutil

import bench

for module in sorted(found.name for found in pkgutil.iter_modules(bench.__path__)):
    if module == "__main__":
        continue
    loaded = importlib.import_module(f"bench.{module}")
    if hasattr(loaded, "main"):
        print(f"\n== {module}: {(loaded.__doc__ or '').splitlines()[0]}", flush=True)
        loaded.main()
