"""What users send stays text in the Markdown that Dagster shows."""

import pytest
from markdown_it import MarkdownIt

from churn_assets import markdown

HOSTILE = [
    "<script>alert(1)</script>",
    "![x](http://evil/pixel.png)",
    "[click](javascript:alert(1))",
    "a | b | c",
    "`code` and **bold** _and_ ~~more~~",
    "\\| \\` ends",
    "a\n\n# heading\n- item",
    "&lt;b&gt;",
    "x" * 79 + "|",
    "`" * 3 + "|" * 200,
]
RENDER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def tags(text: str) -> list[str]:
    tokens = RENDER.parse(text)
    inner = [child for token in tokens for child in token.children or []]
    return [token.type for token in [*tokens, *inner]]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_cell_is_one_cell_of_nothing_but_text(value: str):
    types = tags(markdown.table(["before", "it", "after"], [["1", markdown.cell(value), "2"]]))

    assert types.count("td_open") == 3
    assert types.count("tr_open") == 2
    assert not {"html_inline", "html_block", "link_open", "image", "strong_open", "em_open"} & set(types)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_sentence_is_text_as_it_was_but_for_blanks(value: str):
    tokens = RENDER.parse(f"- {markdown.text(value)}")
    (inline,) = [token for token in tokens if token.type == "inline"]

    assert {child.type for child in inline.children or []} <= {"text", "text_special"}
    assert "".join(child.content for child in inline.children or []) == " ".join(value.split())


def test_plain_values_are_left_as_they_are():
    assert markdown.cell(42) == "42"
    assert markdown.cell(None) == ""
    assert markdown.text("country=GB: AUC 0.512, below 0.55") == "country=GB: AUC 0.512, below 0.55"
