"""Who is told of what is wrong, once: incidents, failures, mail and webhook."""
