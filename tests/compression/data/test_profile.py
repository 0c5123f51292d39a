"""What is summarised while rows stream by is what a look at all of them gives."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compression.data.profile import SplitProfile
from compression.data.summary import Column

VALUES = st.sampled_from(["", "a", "a b", "b  a\tc ", "1", "-2", "0.5", "\u3000x"])


def profile_of(rows: list[tuple[str, ...]], columns: list[str], batch_rows: int) -> SplitProfile:
    profile = SplitProfile(columns)
    for start in range(0, len(rows), batch_rows):
        profile.add(list(zip(*rows[start : start + batch_rows], strict=True)))
    return profile


def column_of(values: list[str]) -> Column:
    summary = profile_of([(value, "x") for value in values], ["value", "other"], 2).summary()
    return summary.columns[0]


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=30), batch_rows=st.integers(1, 30))
def test_agrees_with_a_look_at_everything(rows: list[tuple[str, ...]], batch_rows: int) -> None:
    split = profile_of(rows, ["a", "b"], batch_rows).summary()
    assert split.rows == len(rows)
    assert split.duplicates == len(rows) - len(set(rows))
    for index, column in enumerate(split.columns):
        values = [row[index] for row in rows]
        lengths = [len(value.split()) for value in values]
        assert column.empty == values.count("")
        assert column.distinct == Counter(values)
        assert column.lengths.mean == pytest.approx(np.mean(lengths))
        for share, found in ((50, column.lengths.p50), (95, column.lengths.p95), (99, column.lengths.p99)):
            assert found == np.percentile(lengths, share, method="inverted_cdf")
        assert column.lengths.max == max(lengths)


KINDS: dict[str, tuple[list[str], str, float | None, float | None]] = {
    "integers": (["3", "-1", "+2", "007"], "integer", -1, 7),
    "numbers": (["3", "0.5", "-.5", "1e3", "2."], "number", -0.5, 1000),
    "empty values do not count": (["", "3", ""], "integer", 3, 3),
    "nothing but empty values": (["", ""], "text", None, None),
    "one word": (["1", "2", "three"], "text", None, None),
    "a word in a later batch": (["1", "2", "3", "4", "x"], "text", None, None),
    "what only Python calls a number": (["1_000", "2"], "text", None, None),
    "spaces": ([" 1", "2"], "text", None, None),
    "not a number": (["nan", "1"], "text", None, None),
    "infinite": (["1e999", "1"], "text", None, None),
    "foreign digits": (["١", "٢"], "text", None, None),
}


@pytest.mark.parametrize("case", KINDS)
def test_kinds(case: str) -> None:
    values, kind, minimum, maximum = KINDS[case]
    column = column_of(values)
    assert (column.kind, column.minimum, column.maximum) == (kind, minimum, maximum)


@pytest.mark.parametrize(
    ("values", "has_counts"),
    [
        ([str(i) for i in range(100)], True),
        ([str(i) for i in range(101)], False),
        ([str(i) for i in range(1000)] * 2, True),
        ([str(i) for i in range(1001)] * 2, False),
    ],
)
def test_counts_only_what_may_be_labels(values: list[str], has_counts: bool) -> None:
    assert (column_of(values).distinct is not None) == has_counts


def test_hashes_do_not_depend_on_the_order_of_columns() -> None:
    one = profile_of([("x", "1"), ("y", "2")], ["text", "label"], 1)
    other = profile_of([("2", "y"), ("1", "x")], ["label", "text"], 2)
    assert one.hashes.tolist() == other.hashes.tolist()[::-1]
