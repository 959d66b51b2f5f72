"""The online store: the features of each user, published for look-ups by user_id."""
