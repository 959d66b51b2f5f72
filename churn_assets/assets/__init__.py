"""The graph: each asset unpacks its context, calls a transform and returns."""
