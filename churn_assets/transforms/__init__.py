"""What each table holds, as plain PySpark: DataFrames in, DataFrames out.

No Dagster, no I/O and no clock in here: moments come in as arguments. Everything keeps to the SQL that Sail
and Apache Spark answer alike, in a session whose time zone is UTC.
"""
