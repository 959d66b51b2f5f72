"""``churn forget``: everything of some users removed from a lake, with a receipt that does not say of whom."""
