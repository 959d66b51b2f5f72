"""Whom to contact and what contacting brought: no Dagster here."""
