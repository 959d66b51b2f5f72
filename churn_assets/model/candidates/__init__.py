"""The estimators that compete, and how they are calibrated."""
