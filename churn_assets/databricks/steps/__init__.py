"""Running a Dagster step on a cluster: the launcher, what runs there, and what comes back."""
