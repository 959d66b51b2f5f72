"""Registered versions: their stages and tags, promotions, rollbacks, and MLflow's database."""
