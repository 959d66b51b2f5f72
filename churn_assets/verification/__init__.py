"""What of a lake is damaged, what depends on it, and the command that mends it. Nothing is changed.

``verify`` goes through all of it. The other modules look at one kind of thing each, and give findings.
"""
