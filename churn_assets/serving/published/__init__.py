"""Which versions are served: the state on disk, who writes it and who follows it."""
