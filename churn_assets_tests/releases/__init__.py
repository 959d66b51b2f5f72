"""Lakes that earlier releases made with their own code, and how they were made."""
