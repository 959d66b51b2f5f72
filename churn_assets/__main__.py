"""``python -m churn_assets``: the ``churn`` command where its script is not on the path."""

from churn_assets.cli import main

main()
