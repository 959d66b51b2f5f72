"""The page about a version: words, plots and template."""
