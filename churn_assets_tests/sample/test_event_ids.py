"""Occurrences are numbered in file order, over any number of batches."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.sample.event_ids import KeyCounts


@given(st.lists(st.lists(st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1), max_size=20), max_size=12))
def test_each_key_is_numbered_from_one_in_its_order(batches):
    counts, expected = KeyCounts(), Counter()
    for batch in batches:
        numbers = counts.occurrences(np.array(batch, np.int64))
        for key, number in zip(batch, numbers, strict=True):
            expected[key] += 1
            assert number == expected[key]
    assert len(counts) == len(expected)


def test_a_million_keys_take_sixteen_bytes_each():
    counts = KeyCounts()
    for start in range(0, 1_000_000, 50_000):
        counts.occurrences(np.arange(start, start + 50_000))
    assert len(counts) == 1_000_000
    assert sum(keys.nbytes + numbers.nbytes for keys, numbers in counts.runs) == 16_000_000
