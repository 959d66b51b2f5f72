"""What a Databricks Runtime has and Sail has not, added to Spark Connect's client.

This package is copied beside the interpreter of the emulated cluster, so it imports nothing of the working
tree. ``session`` is the cluster's session, ``unity`` what the metastore knows, ``grammar`` the statements
that Sail does not take, ``describe`` what is read from Delta logs, ``auto_loader`` the source
``cloudFiles``, and ``server`` the process that is the cluster's engine and the SQL warehouse.

Known differences from Databricks:

* The engine is Sail 0.7, a Spark Connect server, as on standard access mode and serverless compute. A
  dedicated cluster has a classic session: so it is where the test asks for it (``classic``), with Apache
  Spark 4.0 and Delta 4.0 in one driver a cluster. It compiles no plan and re-plans none while it runs, as
  tables here are small. ``foreachBatch`` is refused: see ``auto_loader``.
* Grants, owners and comments are remembered, and enforced only for registered models, by their API: of
  everything else, whoever asks may do everything.
* ``MANAGED LOCATION``, external locations and credentials are remembered; managed tables all lie in a
  folder of the workspace, ``managed/<catalog>/<schema>/<table>``.
* Table properties and clustering are remembered; no file is compacted, clustered or given a deletion
  vector, and no commit follows a write by itself. Sail's own checks apply, and its commit conflicts read as
  Sail says them.
* ``DESCRIBE HISTORY`` has the columns of Databricks; its metrics are those that Sail commits, as far as it
  does.
* Only the catalogs that the test named can be created: Sail learns its catalogs when it starts.
* Auto Loader lists its folder each time, keeps its files in JSON, knows the format ``binaryFile``, the
  trigger ``availableNow`` and tables as its sinks, and has run when ``toTable`` returns.
"""
