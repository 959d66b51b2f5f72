"""The ledger of dates: which date of which table was computed when, from what, by which code and parameters.

``rows`` is what it holds, ``folder`` and ``unity`` keep it, ``writing`` is how a write of the lake notes
itself (the only place that does), ``arrivals`` what is noted of users, and ``looking`` what all that decide
ask. What is stale is worked out from it in ``automation.staleness.staleness``; docs/adr/0027 has the reasons.
"""
