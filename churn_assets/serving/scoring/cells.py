"""The meaning of one JSON value in a request, by the rules of MLflow's server, and the range of each feature.

Without pandas, because a scaled-down worker must stay small. The rules for ids are those of landed events.
"""

import json
import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.tables import ALL_FEATURES

# scikit-learn's trees convert to float32, where larger numbers would become infinite.
LARGEST = float(np.finfo(np.float32).max)

LIMITS = {column.name: (column.minimum, column.maximum) for column in ALL_FEATURES}

# Doubles below this hold every integer exactly.
EXACT_BELOW = 2**53
BLANKS = " \t\r\n\f\v"
# Canonical only: 0012, 12 and +12 may be the card numbers of three people.
WHOLE = re.compile(r"(0|-?[1-9][0-9]*)(?:\.0*)?")
SCIENTIFIC = re.compile(r"-?[1-9](?:[0-9]*\.([0-9]*?)0*[eE]\+?|[0-9]*[eE]\+)([0-9]{1,2})")

DISPLAY_LENGTH = 60


def limits(column: str) -> tuple[float, float]:
    """Return the lowest and the highest number that a column's contract and the model allow."""
    low, high = LIMITS.get(column, (None, None))
    return (-LARGEST if low is None else float(low), LARGEST if high is None else float(high))


def parse_number(value: Any) -> float:
    """Return a JSON value as a double, NaN for null, as pandas' ``astype("float64")`` does.

    Raises:
        ValueError: the value is neither a number nor a text of one.
        OverflowError: the value is an integer too large for a double.
    """
    if value is None:
        return math.nan
    if isinstance(value, int | float | str):  # true and false are 1 and 0
        return float(value)
    raise ValueError("neither a number nor a text of one")


def parse_numbers(values: list[Any]) -> NDArray[np.float64] | None:
    """Return the values as ``parse_number`` does, one double each; None if one of them is no number."""
    try:
        numbers = np.array(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    # Lists of equal length would become an array of more dimensions.
    return numbers if numbers.shape == (len(values),) else None


def parse_user_id(value: Any) -> int | None:
    """Return a JSON value as a user_id, None if it is none: 3, 3.0, "3" and "3.0" are user 3.

    An id is whole, canonical (``"0012"`` is none) and within 64 bits.
    """
    whole: int | None = None
    if isinstance(value, str):
        whole = _from_text(value.strip(BLANKS))
    elif isinstance(value, float):
        whole = int(value) if value.is_integer() and abs(value) < EXACT_BELOW else None
    elif isinstance(value, int) and not isinstance(value, bool):
        whole = value
    return whole if whole is not None and -(2**63) <= whole < 2**63 else None


def _from_text(text: str) -> int | None:
    # Twenty characters hold every id; Python refuses to parse thousands of digits.
    if (match := WHOLE.fullmatch(text)) and len(match[1]) <= 20:
        return int(match[1])
    if match := SCIENTIFIC.fullmatch(text):
        value = float(text)
        if len(match[1] or "") <= int(match[2]) and abs(value) < EXACT_BELOW:
            return int(value)
    return None


def display(value: Any) -> str:
    """Return a value as it was sent, on one line and shortened."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value)
    return text if len(text) <= DISPLAY_LENGTH else f"{text[:DISPLAY_LENGTH]}…"


def expected_range(column: str) -> str:
    """Return the range of a column, in words for a message."""
    low, high = LIMITS.get(column, (None, None))
    if low is not None and high is not None:
        return f"expected {low} to {high}"
    return f"expected {low} or more" if low is not None else "expected a number"


def range_error(column: str, value: float) -> str:
    """Return why a number out of the column's range is refused, in words for a message."""
    _, high = LIMITS.get(column, (None, None))
    if abs(value) > LARGEST and high is None:
        return f"the largest number that the model takes is {LARGEST:.2g}"
    return expected_range(column)
