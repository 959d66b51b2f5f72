"""What each command of ``churn`` does; ``cli.py`` names them."""
