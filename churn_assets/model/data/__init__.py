"""Labelled rows for training: which dates, which rows, which columns, and what churn means."""
