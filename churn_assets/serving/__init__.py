"""The endpoint: the bundled scoring server, what deploys a model version to it, and the proof that it agrees with the batch."""
