"""Clusters: which one a step gets, what is installed there, what it costs."""
