"""What Dagster keeps: its instance, the reader of its log, the lake's lock, tags of runs, and dead runs."""
