"""The package as a wheel for clusters: the same bytes for the same code, and no dependencies.

Not the wheel that a build makes: Databricks installs what a wheel requires, and this package requires a
pyspark, which would shadow the runtime's own. A requirements file beside it says what a cluster needs
instead. Nor can a build backend make it where the package is installed and its sources are not.
``python -m churn_assets.databricks.workflow.wheel FOLDER`` writes them, as the bundle does to build them.
"""

import base64
import hashlib
import io
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from churn_assets.databricks.archive import EPOCH, archive, package_folder
from churn_assets.databricks.compute.libraries import FILE, PINS, cluster_requirements, pins
from churn_assets.databricks.workflow.tasks import ENTRY_FUNCTION, ENTRY_POINT
from churn_assets.release import DISTRIBUTION, release

# dagster-pyspark's few modules come along: its own wheel would pull pyspark in, too.
PACKAGES = ("churn_assets", "dagster_pyspark")
TAGS = "Wheel-Version: 1.0\nGenerator: churn-assets\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@dataclass(frozen=True)
class Wheel:
    """A wheel: the name of its file, its bytes, and the digest of these that names its folder."""

    name: str
    content: bytes
    digest: str


def cluster_wheel() -> Wheel:
    """Make the wheel of the package as it is imported here.

    Raises:
        WorkspaceError: the package cannot be found as a folder.
    """
    project, number = DISTRIBUTION.replace("-", "_"), release()
    info = f"{project}-{number}.dist-info"
    buffer = io.BytesIO(archive([package_folder(name) for name in PACKAGES]).content)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as wheel:
        metadata = (
            f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {number}\nRequires-Python: >=3.11\n"
        )
        entry_points = f"[console_scripts]\n{ENTRY_POINT} = {ENTRY_FUNCTION}\n"
        for name, text in {"METADATA": metadata, "WHEEL": TAGS, "entry_points.txt": entry_points}.items():
            wheel.writestr(zipfile.ZipInfo(f"{info}/{name}", EPOCH), text, zipfile.ZIP_DEFLATED)
        record = "".join(_recorded(name, wheel.read(name)) for name in wheel.namelist())
        wheel.writestr(
            zipfile.ZipInfo(f"{info}/RECORD", EPOCH), f"{record}{info}/RECORD,,\n", zipfile.ZIP_DEFLATED
        )
    content = buffer.getvalue()
    return Wheel(f"{project}-{number}-py3-none-any.whl", content, hashlib.sha256(content).hexdigest()[:16])


def write_wheel(folder: Path) -> Path:
    """Write the wheel into a folder, in place of any other of this package, and say where it is.

    What it requires is written beside it, so that the two fit together.
    """
    wheel = cluster_wheel()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{DISTRIBUTION.replace('-', '_')}-*.whl"):
        old.unlink()
    (folder / FILE).write_bytes(cluster_requirements().content)
    (folder / PINS).write_bytes(pins())
    (folder / wheel.name).write_bytes(wheel.content)
    return folder / wheel.name


def _recorded(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"


if __name__ == "__main__":
    print(write_wheel(Path(sys.argv[1])))
