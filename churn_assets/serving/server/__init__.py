"""The scoring server: its HTTP application, token and size checks, metrics, management, and model host."""
