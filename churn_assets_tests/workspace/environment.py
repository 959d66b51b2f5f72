"""Interpreters for clusters: what Databricks Runtime brings, and what a requirements file adds to it.

Neither has the project, nor this environment's packages. They lie beside uv's cache, whose files they link,
under names that change with what is in them, and are made once on a machine.
"""

import functools
import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from churn_assets_tests.workspace.processes import bare_python

ROOT = Path(__file__).parents[2]
# What the runtime has of its own and keeps, and what the project asks a cluster to install.
KEPT = ROOT / "requirements-databricks-runtime.txt"
REQUIREMENTS = ROOT / "churn_assets" / "databricks" / "compute" / "requirements.txt"
# Runtime 17.3's Python, a Spark of its line, and the SDK that it brings. The client alone has no jars: the
# engine is Spark Connect's. No distribution is named pyspark, as on a runtime none is.
MINOR = "3.12"
SPARK = "4.0.1"
# Of its line, and on a runtime part of it.
DELTA = "io.delta:delta-spark_2.13:4.0.0"
RUNTIME = (
    f"pyspark-client=={SPARK}",
    "databricks-sdk==0.49.0",
    "python-dateutil==2.9.0.post0",
    "pytz==2024.1",
)
UV = Path(sys.executable).parent / "uv"
VERSION = "import sys; print('.'.join(map(str, sys.version_info[:3])))"


class InstallationError(Exception):
    """A requirements file cannot be installed; the message is the installer's."""


def link_packages(root: Path) -> Path:
    """Make an interpreter that has this environment's packages, but not the project, and return its path.

    A ``.pth`` file puts the folder of packages on the path without obeying the ``.pth`` files in it, which is
    how the project's working tree comes into this environment. It is no cluster's: for tests of the emulator.
    """
    python = root / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(bare_python())
    (root / "pyvenv.cfg").write_text(f"home = {bare_python().parent}\ninclude-system-site-packages = false\n")
    site = root / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    site.mkdir(parents=True)
    (site / "packages.pth").write_text(sysconfig.get_paths()["purelib"])
    return python


@functools.cache
def runtime_python() -> Path:
    """The interpreter of Databricks Runtime 17.3 LTS, as far as tests need it.

    Raises:
        LookupError: there is no Python of its minor version, and uv gets none.
    """
    base = _python_on_this_machine() or MINOR

    def make(folder: Path) -> None:
        done = subprocess.run(
            [UV, "venv", "--quiet", "--python", base, folder],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            raise LookupError(f"No Python {MINOR} here, and uv got none: {done.stderr.strip()}; install one.")
        python = folder / "bin" / "python"
        _run(UV, "pip", "install", "--quiet", "--python", python, *RUNTIME, "-r", KEPT)

    return _made_once("runtime", f"{base}{RUNTIME}".encode() + KEPT.read_bytes(), make) / "bin" / "python"


def logical_lines(requirements: str) -> list[str]:
    """The lines of a requirements file as pip reads them: joined, without comments and blanks."""
    lines = requirements.replace("\\\n", " ").splitlines()
    # A comment starts the line, or follows a blank.
    return [line for raw in lines if (line := " ".join(re.sub(r"(^|\s+)#.*$", "", raw).split()))]


@functools.cache
def installed(requirements: bytes, *, hashed: bool = True) -> Path:
    """The folder of what a cluster installs from a requirements file, beside what its runtime has.

    With hashes in the file pip installs nothing else: "all requirements must have their versions pinned"
    (https://pip.pypa.io/en/stable/topics/secure-installs/), those that are required in turn as well, unless
    they are there already. So the file's lines are installed without their dependencies, each by its
    hash, and then none may be missing or of a version that another one excludes.

    Args:
        requirements: the file.
        hashed: whether each line needs a hash.

    Raises:
        InstallationError: a line lacks a hash or is not to be had, or something that is required is missing.
    """
    runtime = runtime_python()
    content = "\n".join(logical_lines(requirements.decode())).encode() + b"\n"

    def make(folder: Path) -> None:
        file, python = folder.with_suffix(".txt"), folder / "bin" / "python"
        file.write_bytes(content)
        flags = ["--no-deps", *(["--require-hashes"] if hashed else [])]
        # A file that is refused is refused before an environment is made, which takes seconds.
        _run(UV, "pip", "install", "--quiet", "--dry-run", "--python", runtime, *flags, "-r", file)
        # Of the interpreter under the runtime's environment, for a pip in it.
        _run(runtime.resolve(), "-m", "venv", folder)
        (_packages(folder) / "runtime.pth").write_text(str(_packages(runtime.parents[1])))
        _run(UV, "pip", "install", "--quiet", "--python", python, *flags, "-r", file)
        _run(python, "-m", "pip", "--disable-pip-version-check", "check")

    return _packages(_made_once("libraries", str(runtime).encode() + content, make))


def cluster_libraries() -> Path:
    """The folder of what a cluster installs from the project's own requirements."""
    return installed(REQUIREMENTS.read_bytes())


@functools.cache
def classic_spark() -> Path:
    """The folder of Apache Spark itself, of the runtime's line, with its jars and Delta Lake's.

    The jars are fetched as Spark fetches packages, by its own Ivy.

    Raises:
        InstallationError: it is not to be had.
    """

    def make(folder: Path) -> None:
        flags = ["--quiet", "--no-deps", "--python", runtime_python(), "--target", folder]
        _run(UV, "pip", "install", *flags, f"pyspark=={SPARK}")
        # As on a runtime, where no distribution has that name.
        for metadata in folder.glob("pyspark-*.dist-info"):
            shutil.rmtree(metadata)
        spark, ivy, nothing = folder / "pyspark", folder / "ivy", folder / "nothing.py"
        nothing.touch()
        _run(spark / "bin" / "spark-submit", "--packages", DELTA, "--conf", f"spark.jars.ivy={ivy}", nothing)
        for jar in (ivy / "jars").glob("*.jar"):
            jar.rename(spark / "jars" / jar.name)
        shutil.rmtree(ivy)
        nothing.unlink()

    return _made_once("classic", f"{SPARK} {DELTA}".encode(), make)


def _made_once(what: str, content: bytes, make: Callable[[Path], None]) -> Path:
    cache = subprocess.run([UV, "cache", "dir"], capture_output=True, text=True, check=True, timeout=60)
    key = hashlib.sha256(content).hexdigest()[:16]
    folder = Path(cache.stdout.strip()).parent / "churn-remote-python" / f"{what}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    complete = folder / "complete"
    with FileLock(f"{folder}.lock"):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            complete.touch()
    return folder


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        raise InstallationError((done.stdout + done.stderr).strip())


def _packages(folder: Path) -> Path:
    return folder / "lib" / f"python{MINOR}" / "site-packages"


def _python_on_this_machine() -> Path | None:
    """A Python of the runtime's minor version on PATH, beside this one, or where pyenv keeps its versions."""
    return next(
        (python for python in _candidates(f"python{MINOR}") if _version(python).startswith(f"{MINOR}.")), None
    )


def _candidates(name: str) -> Iterator[Path]:
    on_path = shutil.which(name)
    if on_path:
        yield Path(on_path)
    minor = name.removeprefix("python")
    for versions in (Path(sys.base_prefix).parent, Path.home() / ".pyenv" / "versions"):
        yield from sorted(versions.glob(f"*{minor}*/bin/{name}"), reverse=True)


def _version(python: Path) -> str:
    """What it says it is; empty if it does not run, as pyenv's shims do for versions that are not chosen."""
    done = subprocess.run(
        [python, "-I", "-c", VERSION], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.strip() if done.returncode == 0 else ""
