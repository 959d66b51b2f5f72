"""A hook of MkDocs: what a page links to outside of ``docs/``, such as source files, is named and not linked.

The pages are read in the repository as well, where these links lead somewhere.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?!https?:|#|mailto:)[^)\s#]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Name what is outside; a link to nothing stays, and MkDocs complains about it."""
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def named(match: re.Match[str]) -> str:
        target = (folder / match[2]).resolve()
        if not target.exists() or target.is_relative_to(ROOT / "docs"):
            return match[0]
        path = f"`{target.relative_to(ROOT)}`"
        return path if match[1].strip("`") in path else f"{match[1]} ({path})"

    return LINK.sub(named, markdown)
