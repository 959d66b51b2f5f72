"""Bringing a version to the endpoint, and the proof that it agrees with the batch."""
