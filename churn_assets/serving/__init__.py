"""The endpoint: the scoring server, what deploys a version, and the proof that it agrees with the batch."""
