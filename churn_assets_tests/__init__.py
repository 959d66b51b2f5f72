"""The tests: a mirror of churn_assets, plus end_to_end."""
