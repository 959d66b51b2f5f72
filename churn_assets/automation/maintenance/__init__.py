"""What keeps a lake small: tables, histories and published files, weekly or by ``churn maintain``."""
