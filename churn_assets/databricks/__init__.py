"""Computing on Databricks: the step launcher, its staging and clusters, the workflow, cost and preflight."""
