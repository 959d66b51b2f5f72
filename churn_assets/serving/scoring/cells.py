"""What one value of a request means, by the rules of MLflow's server, and which values can be meant.

No pandas here: a worker that is scaled down must stay small. The rules for ids are those of landed lines.
"""

import json
import math
import re
from typing import Any

import numpy as np

from churn_assets.tables import ALL_FEATURES

# scikit-learn's trees compare float32; what does not fit would become infinite there.
LARGEST = float(np.finfo(np.float32).max)

LIMITS = {column.name: (column.minimum, column.maximum) for column in ALL_FEATURES}

# Doubles below this hold every integer exactly.
EXACT_BELOW = 2**53
BLANKS = " \t\r\n\f\v"
# Canonical only: 0012, 12 and +12 may be three people's card numbers.
WHOLE = re.compile(r"(0|-?[1-9][0-9]*)(?:\.0*)?")
SCIENTIFIC = re.compile(r"-?[1-9](?:[0-9]*\.([0-9]*?)0*[eE]\+?|[0-9]*[eE]\+)([0-9]{1,2})")

SHOWN = 60


def limits(column: str) -> tuple[float, float]:
    """The lowest and the highest number that a column's contract allows, within what a model can take."""
    low, high = LIMITS.get(column, (None, None))
    return (-LARGEST if low is None else float(low), LARGEST if high is None else float(high))


def number(value: Any) -> float:
    """The double that a JSON value stands for, NaN for null, as pandas' ``astype("float64")`` gives it.

    Raises:
        ValueError: it stands for none.
        OverflowError: a whole number that no double holds.
    """
    if value is None:
        return math.nan
    if isinstance(value, int | float | str):  # true and false are 1 and 0
        return float(value)
    raise ValueError("neither a number nor a text of one")


def numbers(values: list[Any]) -> np.ndarray | None:
    """What ``number`` gives for each of them, at once; None where one is no number."""
    try:
        found = np.array(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    # Lists of one length would become an array of more dimensions.
    return found if found.shape == (len(values),) else None


def user_id(value: Any) -> int | None:
    """The id that a JSON value stands for: 3, 3.0, "3" and "3.0" are user 3; None for what is no id.

    It has to be whole, canonical (``"0012"`` is no id) and within 64 bits.
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
    # Twenty characters hold every id; Python refuses to read some thousand digits.
    if (found := WHOLE.fullmatch(text)) and len(found[1]) <= 20:
        return int(found[1])
    if found := SCIENTIFIC.fullmatch(text):
        value = float(text)
        if len(found[1] or "") <= int(found[2]) and abs(value) < EXACT_BELOW:
            return int(value)
    return None


def shown(value: Any) -> str:
    """A value as it was sent, in one line and not too long."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def expected(column: str) -> str:
    """What a column takes, in words."""
    low, high = LIMITS.get(column, (None, None))
    if low is not None and high is not None:
        return f"expected {low} to {high}"
    return f"expected {low} or more" if low is not None else "expected a number"


def out_of_range(column: str, value: float) -> str:
    """Why a number is refused."""
    _, high = LIMITS.get(column, (None, None))
    if abs(value) > LARGEST and high is None:
        return f"the largest number that the model takes is {LARGEST:.2g}"
    return expected(column)
