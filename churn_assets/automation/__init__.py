"""Everything that starts runs, decides what they compute, and alerts of failures; and Dagster's history."""
