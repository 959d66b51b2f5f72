"""Scoring one request: its rows, the model, and the reply."""
