"""Deploying a version to the endpoint, and comparing its answers with the batch."""
