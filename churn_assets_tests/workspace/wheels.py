"""Wheels for tests, made by hand: a zip with the files, METADATA, entry points and RECORD."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Wheel:
    """A wheel: the name of its file, and its bytes."""

    name: str
    content: bytes


def make_wheel(
    project: str, version: str, files: Mapping[str, str], entry_points: Mapping[str, str]
) -> Wheel:
    """A wheel without dependencies.

    Args:
        project: its name, without dashes.
        files: the text of each file.
        entry_points: ``module:function`` of each command.
    """
    info = f"{project}-{version}.dist-info"
    scripts = "".join(f"{name} = {target}\n" for name, target in entry_points.items())
    everything = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{scripts}",
    }
    record = "".join(f"{name},,\n" for name in (*everything, f"{info}/RECORD"))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in {**everything, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return Wheel(f"{project}-{version}-py3-none-any.whl", content.getvalue())
