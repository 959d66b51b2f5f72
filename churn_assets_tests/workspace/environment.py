"""Interpreters for clusters: this Python, or another minor version, with packages but never the project."""

import hashlib
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from churn_assets_tests.workspace.processes import bare_python

LOCK = Path(__file__).parents[2] / "requirements.lock"
UV = Path(sys.executable).parent / "uv"
MINORS = (12, 13, 11)
VERSION = "import sys; print('.'.join(map(str, sys.version_info[:3])))"


def link_packages(root: Path) -> Path:
    """Make an interpreter that has this environment's packages, but not the project, and return its path.

    A ``.pth`` file puts the folder of packages on the path without obeying the ``.pth`` files in it, which is
    how the project's working tree comes into this environment. It takes milliseconds; that another minor
    version works is tested once, with ``remote_python``.
    """
    python = root / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(bare_python())
    (root / "pyvenv.cfg").write_text(f"home = {bare_python().parent}\ninclude-system-site-packages = false\n")
    site = root / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    site.mkdir(parents=True)
    (site / "packages.pth").write_text(sysconfig.get_paths()["purelib"])
    return python


def other_python() -> tuple[Path, str] | None:
    """An interpreter of another minor version than this one's, and its version; None if there is none.

    It is looked for on PATH, beside this one, and where pyenv keeps its versions.
    """
    for minor in MINORS:
        if minor != sys.version_info.minor:
            for candidate in _candidates(f"python3.{minor}"):
                version = _version(candidate)
                if version.startswith(f"3.{minor}."):
                    return candidate, version
    return None


def build() -> Path:
    """The interpreter of an environment with the locked requirements, made at the first call on this machine.

    It lies beside uv's cache, whose files it links, under a name that changes with the lock.

    Raises:
        LookupError: there is no other Python.
    """
    other = other_python()
    if not other:
        raise LookupError(
            f"No other Python than 3.{sys.version_info.minor} found on PATH, beside {sys.base_prefix} or in "
            f"{Path.home() / '.pyenv'}; expected one of {[f'3.{minor}' for minor in MINORS]}; install one."
        )
    python, version = other
    cache = subprocess.run([UV, "cache", "dir"], capture_output=True, text=True, check=True, timeout=60)
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    folder = Path(cache.stdout.strip()).parent / "churn-remote-python" / f"{version}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    inside, complete = folder / "bin" / "python", folder / "complete"
    with FileLock(f"{folder}.lock"):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _uv("venv", "--no-python-downloads", "--python", python, folder)
            _uv("pip", "install", "--python", inside, "--require-hashes", "-r", LOCK)
            complete.touch()
    return inside


def _uv(*arguments: str | Path) -> None:
    subprocess.run([UV, *arguments, "--quiet"], check=True, timeout=900)


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
