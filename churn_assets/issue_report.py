"""What one attaches to an issue: enough to understand it, and nothing that is a secret or names somebody.

Of settings only numbers, dates, choices and addresses of this machine are shown: any other text may be a
secret or a name. What doctor and history say is shown with such texts, e-mail addresses and paths replaced.
"""

import os
import platform
import re
import socket
import sys
import tempfile
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from churn_assets import advice
from churn_assets.doctor import Finding
from churn_assets.release import release
from churn_assets.settings import Settings, origins, secrets_in_environment

PACKAGES = (
    *("dagster", "pysail", "pyspark", "mlflow", "deltalake", "scikit-learn"),
    *("numpy", "pandas", "pyarrow", "pydantic"),
)
# It names accounts of this machine.
NAMES_PEOPLE = "other accounts"

HERE = re.compile(r"https?://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?/?")
EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
# With a folder in it, and not the rest of a URL.
PATH = re.compile(r"(?<![\w:/>~.])(?:/[^\s/'\",;:()]+)+/([^\s/'\",;:()]+)")
# A shorter one is replaced only where it is a word of its own.
SHORT = 6


def issue_report(settings: Settings, findings: Sequence[Finding], failure: str | None) -> str:
    """Return the report as Markdown.

    Args:
        settings: of the deployment.
        findings: of ``doctor.examine``.
        failure: the last failed run's error line; None without one.
    """
    hide = _Hidden(settings)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    lines = [
        f"### churn {release()}",
        f"- {python}, {platform.platform()}, {os.cpu_count()} CPUs",
        f"- installed as {'a checkout' if (advice.CHECKOUT / 'Makefile').is_file() else 'a package'}",
        f"- {', '.join(_installed())}",
        "### Settings",
        *(f"- {line}" for line in _settings(settings)),
        "### churn doctor",
    ]
    for finding in findings:
        says = "not shown" if finding.name == NAMES_PEOPLE else hide.from_(finding.says)
        lines.append(f"- {'ok' if finding.is_well else 'mend'} {finding.name}: {says}")
    # What is quoted there may be of somebody's events.
    last = QUOTED.sub("'…'", hide.from_(failure)) if failure else "none"
    return "\n".join([*lines, "### Last failed run", last])


def _installed() -> Iterator[str]:
    for name in PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} is missing"


def _settings(settings: Settings) -> Iterator[str]:
    environment, _, from_file = origins()
    fields = Settings.variables()
    for origin, names in (("environment", environment), (".env", from_file)):
        for name in names:
            yield f"{name}={shown(settings, fields[name])} ({origin})"
    if not environment and not from_file:
        yield "all are defaults"


def shown(settings: Settings, field: str) -> str:
    """Return a setting's value where it can be neither a secret nor a name; else that it is set."""
    value, kind = getattr(settings, field), Settings.model_fields[field]
    if not kind.repr:
        return "(a secret)"
    if not isinstance(value, str | Path | dict) or "Literal" in str(kind.annotation):
        return str(value)
    if isinstance(value, str) and HERE.fullmatch(value):
        return value
    return "(set)"


class _Hidden:
    """Replaces what a report must not have."""

    def __init__(self, settings: Settings) -> None:
        texts = dict(_private_texts(settings))
        # The longest first: one may be a part of another.
        self._texts = sorted(texts.items(), key=lambda pair: -len(pair[0]))

    def from_(self, text: str) -> str:
        """Return the text without them, in one line."""
        text = " ".join(text.split())
        for private, instead in self._texts:
            pattern = re.escape(private)
            if len(private) < SHORT:
                pattern = rf"(?<!\w){pattern}(?!\w)"
            text = re.sub(pattern, lambda _, instead=instead: instead, text)
        return PATH.sub(r"…/\1", EMAIL.sub("<e-mail>", text))


def _private_texts(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each text, and what is put in its place; later ones win."""
    for place, name in (
        (sys.prefix, "<python>"),
        (tempfile.gettempdir(), "<tmp>"),
        (advice.CHECKOUT, "<package>"),
        (Path.home(), "~"),
        (Path.cwd(), "."),
    ):
        if str(place) != "/":
            yield str(place), name
    yield Path.home().name, "<user>"
    yield socket.gethostname(), "<host>"
    for variable, field in Settings.variables().items():
        value = getattr(settings, field)
        default = Settings.model_fields[field].default
        is_choice = "Literal" in str(Settings.model_fields[field].annotation)
        if not isinstance(value, str | Path | dict) or value == default or is_choice:
            continue
        texts = value.values() if isinstance(value, dict) else (value,)
        for text in filter(None, map(str, texts)):
            yield from ((part, f"<{variable}>") for part in _parts(text))
    yield from ((value, "<secret>") for value in secrets_in_environment())


def _parts(text: str) -> Iterable[str]:
    """Return the text, and what an error may repeat of it: of a list each, of a URL its host and user."""
    parts = {text, urllib.parse.unquote(text), *filter(None, map(str.strip, text.split(",")))}
    url = urllib.parse.urlsplit(text)
    if url.netloc and not HERE.match(text):
        for part in (url.netloc, url.hostname, url.username, url.password):
            parts |= {part, urllib.parse.unquote(part)} if part else set()
        if url.scheme in ("http", "https"):
            # The secret of a webhook is its path, which an error names without the host.
            parts |= {url.path, *url.path.split("/"), url.query} - {"", "/"}
    return parts
