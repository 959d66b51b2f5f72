"""The pages for people: who is at risk and why, one user, the trend, and what contacting brought."""
