"""The command ``python -m bench.pipeline``."""

from bench.pipeline import main

main()
