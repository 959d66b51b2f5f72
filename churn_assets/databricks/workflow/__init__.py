"""The daily job as a Databricks Workflow: its wheel, its definition and its state."""
