"""``churn forget``: everything of some users removed from a lake, and a receipt without them."""
