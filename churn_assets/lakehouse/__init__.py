"""Engines, and everything that touches a table on disk."""
