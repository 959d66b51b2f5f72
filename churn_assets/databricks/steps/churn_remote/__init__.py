"""The cluster's side of both launchers, staged as a package of its own: it imports nothing of ours.

Dagster is imported inside functions: it reads the environment when it is imported, and that is set first.
"""
