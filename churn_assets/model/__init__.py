"""From labelled rows to a registered model and back to a scorer: plain functions that the assets call."""
