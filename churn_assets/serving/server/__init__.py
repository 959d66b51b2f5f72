"""The scoring server: HTTP application, access, metrics, management, and one model host per worker."""
