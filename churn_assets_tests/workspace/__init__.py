"""A Databricks workspace on one machine, for the unmodified databricks-sdk and dagster-databricks in tests.

``emulator.Workspace`` serves HTTP on a free port of 127.0.0.1. Tasks of jobs are real processes of another
interpreter, files are real files, MLflow is a real ``mlflow server``. It is strict: a request with an
unknown route, field or type, or with a missing field, is refused with 400 or 404, and remembered in
``Workspace.violations``, which fails the test. Fields that the real service knows and this one does not act
on are refused as well.

Known differences from the real service:

* The shapes of requests are those of databricks-sdk 0.60, not of the service's own specification.
* ``/Volumes/…`` and ``dbfs:/Volumes/…`` exist for a task only as arguments and as the file to run: the
  emulator puts the path of the real folder there, and the folder itself in ``CHURN_EMULATED_ROOT``. A path in
  an environment variable or in a file stays as it is. That FUSE on volumes takes whole files only, front to
  back, is not enforced; what a task writes is visible at once, half a file included, not when it closes it.
* A cluster is a folder and a record: no machines, no limits of memory or disk, no init scripts; of policies,
  what they fix or forbid.
  Every cluster runs the one interpreter that the test gave; ``spark_version`` only names the runtime.
* That interpreter has of Databricks Runtime 17.3 what ``environment`` lists: its Python, a Spark of its line,
  and what Spark passes data through. The runtime's other packages are not there.
* Requirements files are installed by uv and checked by ``pip check``; they need hashes, which the real
  service does not ask for. ``pypi`` libraries are not downloaded: the interpreter has them already, or the
  task fails as a failed installation does. Wheels are installed without their dependencies.
* The DBFS root is disabled, as in new workspaces.
* A task is killed without a warning (SIGKILL) when it is cancelled, times out or loses its cluster; what the
  real service sends first is not documented. Logs are delivered when a task ends, not every five minutes.
* Like some, not all, runtimes it gives a Python file no ``__file__`` and no folder of its own on
  ``sys.path``, and takes ``SystemExit``, whatever its code, for a failure.
* ``python_file`` is a path in the workspace; the URIs of clouds, which the service takes too, are refused.
* FUSE's cache of a volume is emulated on demand only, and for overwritten files alone: ``files.stale``.
* Permissions are remembered, not enforced; every valid token may do everything. Rate limits, delays and
  failures come only from ``Workspace.faults``. Schedules never fire. E-mails go to ``Workspace.emails``.
* Which of TERMINATED and SKIPPED the service gives for the life cycle of a task that did not run (EXCLUDED,
  UPSTREAM_FAILED, UPSTREAM_CANCELED) is not documented; here it is SKIPPED.
* Serverless tasks run at once, each on its own, in the environment version 4 only: this interpreter, and what
  the dependencies bring, whose lines must be pinned. Options of pip among them are refused, and ``client``,
  which the service still takes. What a session refuses there is in ``emulated_databricks.serverless``.
  Of artifacts, which Sail has not, archives are unpacked where functions run.
* A failed task is retried at once, without ``min_retry_interval_millis``. Whether ``runs/get`` tells earlier
  attempts beside the last is not documented; here it does. A run queues behind the last one before it.
  Auto-optimization retries nothing. That a run takes long is mailed when it ends.
* Repairs, notebooks and Git sources are refused.
* MLflow's artifacts lie in a folder that clients and tasks reach directly, without credentials for a cloud.
* The bill (``billing.py``) has the rows that a test writes; who may read it is enforced.
* Quality monitors (``quality_monitors.py``) are remembered and never computed.
* Online stores (``online_stores.py``) copy at once; there is no Postgres to ask, and no Feature Serving.
* Delta is as from 4.1 on, in VACUUM and in the past that can be read, so newer than Runtime 17.3
  (``emulated_databricks/upkeep.py``).
* Listings are cut by count alone, and nothing is eventually consistent.
"""
