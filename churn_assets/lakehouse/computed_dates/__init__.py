"""The ledger of dates: which date of which table was computed when, from what, by which code and parameters.

``rows`` is what it holds; ``folder_store`` and ``unity_store`` keep it. ``writing`` notes each write of the
lake, and is the only place that does; ``user_changes`` is what it notes of users. ``checked_ledger`` is what
every decision reads, and ``blocking`` refuses rows that fail their checks. ``automation.staleness.staleness``
works out from it which dates are stale; docs/adr/0027 has the reasons.
"""
