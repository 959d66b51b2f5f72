"""Whom to contact, handed to those who act on it, and what contacting brought: no Dagster here."""
