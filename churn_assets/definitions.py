"""The code location that ``dagster dev`` and the workers of the clusters load.

Commands build the graph themselves, from ``graph``: importing this module builds it.
"""

from churn_assets import settings
from churn_assets.graph import build_defs

defs = build_defs(settings.load())
