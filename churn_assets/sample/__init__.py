"""Events to start with: simulated ones, and those of a user's own files."""
