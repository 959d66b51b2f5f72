"""Whether a version may become Production."""
