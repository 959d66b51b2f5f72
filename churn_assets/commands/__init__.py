"""The commands of ``churn``, which ``cli.py`` registers."""
