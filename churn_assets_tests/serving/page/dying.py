"""Publishes the page in a process that kills itself: ``python -m … SETTINGS VERSION CONTACTS STEP``.

A step is the number of a change to the file system, or the name of a function of ``shared_store``, before it.
"""

import json
import os
import signal
import sys
from typing import Any

from churn_assets.serving import shared_store
from churn_assets.serving.endpoint import page_folder
from churn_assets.serving.shared_store import PAGE
from churn_assets.settings import load
from churn_assets_tests.serving.page.stores import DATE, publish

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "sqlite3.connect")


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(step: int, folder: str) -> None:
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        is_change = event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if is_change and folder in str(arguments[0]):
            seen += 1
            if seen == step:
                die()

    sys.addaudithook(hook)


def main() -> None:
    """Publish, or die."""
    given, version, contacts, step = sys.argv[1:]
    settings = load(_env_file=None, **json.loads(given))
    if step.isdigit():
        die_at(int(step), str(page_folder(settings)))
    else:
        setattr(shared_store, step, die)
    with shared_store.publishing(settings, PAGE):
        publish(page_folder(settings), version, contacts=int(contacts))
        if settings.is_in_bucket:
            shared_store.share(settings, f"{DATE}-{version}", PAGE)


if __name__ == "__main__":
    main()
