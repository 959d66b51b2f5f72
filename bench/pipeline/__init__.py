"""Landing zone to ``user_features``: the platform beside the same pipeline by hand in four other tools.

    .venv/bin/python -m bench.pipeline --events 1000000 --rounds 3

Peers do the same work into the same Delta tables, but for what only a platform does: they keep no ledger of
dates, record no runs, check no contracts and settle no conflict between events of one id.

Bronze differs. The platform keeps each line and its fields, plain PySpark the fields, the others the line,
which they take apart for Silver: so Bronze and Silver compare only together.
"""


def main() -> None:
    """Measures and prints; the command imports the peers' packages, which no other benchmark needs."""
    from bench.pipeline import command

    command.main()
