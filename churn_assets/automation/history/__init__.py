"""What Dagster keeps: its instance and log, the lake's lock, tags of runs, and runs whose process died."""
