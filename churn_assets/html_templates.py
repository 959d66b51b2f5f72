"""Templates of pages: whatever is put into one is escaped, and a name that has no value is an error."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(folder: Path, filters: Mapping[str, Callable[..., Any]]) -> "Environment":
    """Return the templates of a folder, which may use these filters beside Jinja's own."""
    # Not above: a worker of the server that shows no page need not have it in memory.
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(filters)
    return found
