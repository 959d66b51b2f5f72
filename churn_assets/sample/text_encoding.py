"""Detection of a text file's encoding: certain for UTF-8 and UTF-16, a guess for 8-bit encodings."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

UTF_8 = "utf-8"
# What Excel writes west of the Oder. Where a guess is worth nothing it is the likeliest.
WESTERN = "cp1252"
# Below this chardet's answer to a few short words is chance: 0.08 for Mac Cyrillic where the text is French.
LEAST_CONFIDENCE = 0.1
BLOCK_BYTES = 1 << 20
QUOTES = "\"'`"
SAMPLE_BYTES = 1 << 16
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: UTF_8,
}


def without_mark(encoding: str) -> str:
    """Return the codec that skips a byte order mark."""
    return "utf-8-sig" if encoding == UTF_8 else encoding


@dataclass(frozen=True)
class Content:
    """The result of one pass over all bytes of a file.

    ``encoding`` is a name that Python and Arrow know; ``guessed`` says that another may fit as well. Of the
    characters that may be quotes, ``quotes`` holds those that occur.
    """

    encoding: str
    quotes: str
    guessed: bool = False


def scan(file: IO[bytes]) -> Content:
    """Read a file once, block by block, and detect its encoding and the quote characters in it."""
    decoder = codecs.getincrementaldecoder(UTF_8)()
    head, odd, is_utf_8, quotes = b"", b"", True, ""
    for block in _blocks(file):
        quotes += "".join(quote for quote in QUOTES if quote not in quotes and quote.encode() in block)
        head = head or block
        if not is_utf_8:
            odd = _gathered(odd, block)
            continue
        try:
            decoder.decode(block)
        except UnicodeDecodeError:
            is_utf_8, odd = False, _gathered(b"", block)
    try:
        decoder.decode(b"", final=is_utf_8)
    except UnicodeDecodeError:
        is_utf_8, odd = False, head[:SAMPLE_BYTES]
    encoding, guessed = _encoding(head, odd, is_utf_8)
    return Content(encoding, quotes, guessed)


def _encoding(head: bytes, odd: bytes, is_utf_8: bool) -> tuple[str, bool]:
    """The name of the encoding, and whether it is a guess."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if head.startswith(mark) and (encoding != UTF_8 or is_utf_8):
            return encoding, False
    if is_utf_8 and b"\0" not in head[:SAMPLE_BYTES]:
        return UTF_8, False
    # Most files are UTF-8, and need not wait for it.
    import chardet

    if b"\0" in head[:SAMPLE_BYTES]:  # UTF-16 without its mark is valid UTF-8 where the text is English
        detected = chardet.detect(head[:SAMPLE_BYTES])["encoding"] or UTF_8
        return detected.lower(), True
    detected = chardet.detect(odd)
    encoding = detected["encoding"]
    if not encoding or detected["confidence"] < LEAST_CONFIDENCE or encoding.lower().startswith("utf"):
        encoding = WESTERN if _decodes(odd, WESTERN) else "latin-1"
    return encoding.lower(), True


def _decodes(text: bytes, encoding: str) -> bool:
    try:
        text.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _gathered(odd: bytes, block: bytes) -> bytes:
    """More of the lines that are not ASCII, as only these tell one encoding from another."""
    if len(odd) >= SAMPLE_BYTES:
        return odd
    lines = [line for line in block.splitlines() if not line.isascii()]
    return (odd + b"\n".join(lines))[:SAMPLE_BYTES]


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block
