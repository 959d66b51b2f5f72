"""Tests of what is done with the list of whom to contact."""
