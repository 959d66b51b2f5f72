"""The list of whom to contact, for those who act on it: read, exported, handed over."""
