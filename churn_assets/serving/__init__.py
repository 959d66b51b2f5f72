"""The endpoint: the scoring server, deployments, and the comparison with the batch."""
