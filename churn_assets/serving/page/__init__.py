"""What the page at ``/`` shows, published for the server's workers."""
