"""Which versions are served: the state on disk, and the process that keeps it up to date."""
