"""Which dates of which tables are stale, by the ledger, and in what order they are computed."""
