"""What runs without being asked, and where Dagster writes down what ran."""
