"""A churn platform as a Dagster asset graph."""
