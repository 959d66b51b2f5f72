"""Names that a folder may have and that an engine, a URL or a pattern reads as something else."""

ODD_NAMES = {
    "a space": "a b",
    "a hash": "a#b",
    "a percent sign": "50% b",
    "an accent": "aä\u00e9b",
    "a question mark": "a?b",
    "a bracket": "a[b]c",
    "a star": "a*b",
    "a backtick": "a`b",
    "a quote": "a'b",
    "braces": "a{b,c}",
    "all of these": "a b#50% \u00e9?[c]*`'{b,c}",
}
# Reads as "a b" where somebody decodes once too often: refused, as delta-rs does.
LOOKS_ENCODED = "a%20b"
