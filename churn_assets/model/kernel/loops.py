"""The loops that score rows, compiled by numba. ``program.py`` says what the arrays hold.

Importing this module takes half a second where numba's cache has the loops, and some seconds where it has
not. The cache lies in this folder's ``__pycache__``, in the user's cache folder where that cannot be written,
or in ``NUMBA_CACHE_DIR``. Its key is this file: nothing of it may be imported from another.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types

# The kinds of steps: the first three add a model's log-odds of churn, the others make a probability of them.
TREES, LINEAR, BG_NBD, MEAN, EXPIT, SIGMOID, ISOTONIC, BOUNDS = range(8)

# What a term of a linear model takes of its column.
PLAIN, LOGARITHM, IS_MISSING = range(3)

# The numbers of a term: its value where missing, scale, minimum, lowest, highest, mean, deviation, weight.
NUMBERS_OF_A_TERM = 8

# The numbers of BG/NBD: the logarithm of a, then r, alpha, b, the horizon in days, and the median gap.
NUMBERS_OF_BG_NBD = 6

# scikit-learn's trees of gradient boosting convert to float32, and refuse what is larger.
LARGEST = float(np.finfo(np.float32).max)
LARGEST_DOUBLE = float(np.finfo(np.float64).max)

# Divisions by zero are infinite, as numpy's are. Without threads: others answer meanwhile.
OPTIONS = {"nogil": True, "error_model": "numpy"}


def _read_only(element: Any, dimensions: int) -> types.Array:
    # Arrays that can be written are taken as well.
    return types.Array(element, dimensions, "C", readonly=True)


SIGNATURE = types.boolean(
    types.int64,
    *(_read_only(types.int64, dimensions) for dimensions in (1, 2, 1)),
    _read_only(types.uint64, 2),
    _read_only(types.uint32, 1),
    _read_only(types.float64, 1),
    _read_only(types.float64, 1),
    _read_only(types.float64, 2),
    types.float64[::1],
)


def _compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Return the loop as machine code from the cache, or compiled, where no cache can be written."""
    try:
        return njit(SIGNATURE, cache=True, **OPTIONS)(loop)
    except (RuntimeError, OSError, EOFError):
        return njit(SIGNATURE, **OPTIONS)(loop)


@njit(**OPTIONS)
def _trees(x, trees, nodes, thresholds, place, count, total):
    """Return ``total`` and the values of the leaves that a row ends in, added in the order of the trees."""
    # Unsigned, or each index would be tested for being below zero.
    for tree in range(place, place + count):
        node = trees[tree, 0]
        # A leaf is its own child, so all rows take as many steps and the processor need not guess.
        for _ in range(trees[tree, 1]):
            value = x[nodes[np.uint64(4) * node]]
            goes_right = np.uint64(value > thresholds[node])
            is_missing = np.uint64(2) * np.uint64(math.isnan(value))
            node = np.uint64(nodes[np.uint64(4) * node + np.uint64(1) + goes_right + is_missing])
        total += thresholds[node]
    return total


@njit(**OPTIONS)
def _are_finite(x, columns, place, count):
    """Tell whether scikit-learn's gradient boosting takes the values of these columns."""
    are_finite = True
    for column in range(place, place + count):
        are_finite &= abs(x[columns[column]]) <= LARGEST
    return are_finite


@njit(**OPTIONS)
def _linear(x, columns, numbers, place, count, number):
    """Return the log-odds of a logistic regression; NaN where scikit-learn refuses the row."""
    total = 0.0
    for term in range(count):
        value = x[columns[place + 2 * term]]
        kind = columns[place + 2 * term + 1]
        at = number + 1 + NUMBERS_OF_A_TERM * term
        if math.isinf(value):
            return math.nan
        if kind == IS_MISSING:
            value = 1.0 if math.isnan(value) else 0.0
        elif math.isnan(value):
            value = numbers[at]
        elif kind == LOGARITHM:
            value = math.copysign(math.log1p(abs(value)), value)
        if math.isnan(value):
            return math.nan
        value = min(max(value * numbers[at + 1] + numbers[at + 2], numbers[at + 3]), numbers[at + 4])
        total += (value - numbers[at + 5]) / numbers[at + 6] * numbers[at + 7]
    return total + numbers[number]


@njit(**OPTIONS)
def _number(value, missing):
    """Return a finite number for each value, as ``np.nan_to_num`` does: ``missing`` for NaN."""
    if math.isnan(value):
        return missing
    return min(max(value, -LARGEST_DOUBLE), LARGEST_DOUBLE)


@njit(**OPTIONS)
def _bg_nbd(x, columns, numbers, place, number):
    """Return the log-odds of BG/NBD; see ``model/candidates/bg_nbd.py`` for the formula."""
    log_a, r, alpha = numbers[number], numbers[number + 1], numbers[number + 2]
    b, horizon, median_gap = numbers[number + 3], numbers[number + 4], numbers[number + 5]
    repeats = max(_number(x[columns[place]], 1.0) - 1, 0.0)
    gap = x[columns[place + 2]]
    last = repeats * (median_gap if math.isnan(gap) else gap)
    age = last + _number(x[columns[place + 1]], 0.0)
    log_age = math.log(alpha + age)
    left = log_a - math.log(b + repeats) + (r + repeats) * (log_age - math.log(alpha + last))
    # log(1 + exp(left)), without overflow.
    there = -(max(left, 0.0) + math.log1p(math.exp(-abs(left))))
    silent = (r + repeats) * (log_age - math.log(alpha + age + horizon))
    stays = there + math.log(-math.expm1(silent))
    return math.log(-math.expm1(stays)) - stays


@njit(**OPTIONS)
def _expit(log_odds):
    return 1.0 / (1.0 + math.exp(-log_odds))


@njit(**OPTIONS)
def _isotonic(value, numbers, number, count):
    """Return the map's value: straight lines between the thresholds, constant beyond them."""
    if math.isinf(value):
        return math.nan
    low, high = 0, count - 1
    if value <= numbers[number]:
        return numbers[number + count]
    if value >= numbers[number + high]:
        return numbers[number + count + high]
    while high - low > 1:
        middle = (low + high) // 2
        if numbers[number + middle] <= value:
            low = middle
        else:
            high = middle
    x, y = number + low, number + count + low
    slope = (numbers[y + 1] - numbers[y]) / (numbers[x + 1] - numbers[x])
    return slope * (value - numbers[x]) + numbers[y]


@njit(**OPTIONS)
def _model(x, step, columns, trees, nodes, thresholds, numbers):
    """Return the log-odds of one model; NaN where scikit-learn refuses the row."""
    kind, place, count, number = step[0], step[1], step[2], step[3]
    if kind == TREES:
        if not _are_finite(x, columns, step[4], step[5]):
            return math.nan
        return _trees(x, trees, nodes, thresholds, place, count, numbers[number])
    if kind == LINEAR:
        return _linear(x, columns, numbers, place, count, number)
    return _bg_nbd(x, columns, numbers, place, number)


@njit(**OPTIONS)
def _mapped(total, step, numbers):
    """Return what a step makes of a sum of log-odds, or of a probability."""
    kind, count, number = step[0], step[2], step[3]
    if kind == MEAN:
        return total / count
    if kind == EXPIT:
        return _expit(total)
    if kind == SIGMOID:
        return _expit(-(numbers[number] * total + numbers[number + 1]))
    if kind == ISOTONIC:
        return _isotonic(total, numbers, number, count)
    users, unknown, rate = numbers[number], numbers[number + 1], numbers[number + 2]
    return (total * users + rate * unknown) / (users + unknown)


@_compiled
def score(fallback, history, steps, columns, trees, nodes, thresholds, numbers, rows, out):
    """Write the probability of churn of each row to ``out``; return whether all of them are known.

    A probability that is NaN is not known: scikit-learn would refuse the row, or says NaN as well.
    """
    are_known = True
    for row in range(rows.shape[0]):
        x = rows[row]
        begin, end = 0, fallback
        for column in history:
            if math.isnan(x[column]):
                begin, end = fallback, steps.shape[0]
        total = 0.0
        for step in range(begin, end):
            if steps[step, 0] <= BG_NBD:
                total += _model(x, steps[step], columns, trees, nodes, thresholds, numbers)
            elif not math.isnan(total):
                total = _mapped(total, steps[step], numbers)
        out[row] = total
        are_known &= not math.isnan(total)
    return are_known
