"""Alerts, one for each incident: failed runs, stale assets, failed checks, and the channels they go to."""
