"""Tests of what is said of a lake that is looked at."""
