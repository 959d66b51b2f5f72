"""What computes: the pipeline of ``churn run``, a Databricks job's tasks, backfills, and their estimates."""
