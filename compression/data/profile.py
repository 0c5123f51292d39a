"""Summarises a split while its rows stream by."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from compression.data.summary import MAX_DISTINCT, Column, ColumnKind, Lengths, Split
from compression.data.table import Batch, Value

INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

FEW_VALUES = 100
"""Any column may have as many; a column of more, most of them only once or twice, is no class label."""

Hashes = npt.NDArray[np.int64]


class SplitProfile:
    """What is kept of the rows of one split: counts per column, and eight bytes per row."""

    def __init__(self, columns: list[str], lists: frozenset[str] = frozenset()) -> None:
        self._columns = [_ColumnProfile(name, "list" if name in lists else "integer") for name in columns]
        self._by_name = sorted(range(len(columns)), key=columns.__getitem__)
        self._hashes: list[Hashes] = []

    def add(self, batch: Batch) -> None:
        for column, values in zip(self._columns, batch, strict=True):
            column.add(values)
        rows = zip(*(batch[index] for index in self._by_name), strict=True)
        # Python's hashes differ from process to process, but they are only compared within one.
        self._hashes.append(np.fromiter(map(hash, rows), np.int64, len(batch[0])))

    @property
    def rows(self) -> int:
        return sum(map(len, self._hashes))

    @property
    def hashes(self) -> Hashes:
        """One number per row, equal for equal rows whatever the order of their columns."""
        return np.concatenate(self._hashes)

    def summary(self) -> Split:
        return Split(
            rows=self.rows,
            columns=[column.summary() for column in self._columns],
            duplicates=self.rows - len(np.unique(self.hashes)),
        )


class _ColumnProfile:
    def __init__(self, name: str, kind: ColumnKind) -> None:
        self._name = name
        self._kind = kind
        self._empty = 0
        self._distinct: Counter[str] | None = Counter()
        self._words: Counter[int] = Counter()
        self._minimum = math.inf
        self._maximum = -math.inf

    def add(self, values: tuple[Value, ...]) -> None:
        texts = list(_texts(values))
        self._empty += sum(not value for value in values)
        self._words.update(len(value.split()) if isinstance(value, str) else len(value) for value in values)
        if self._distinct is not None:
            self._distinct.update(texts)
            if len(self._distinct) > MAX_DISTINCT:
                self._distinct = None
        if self._kind in ("integer", "number"):
            self._add_numbers({text for text in texts if text})

    def _add_numbers(self, values: set[str]) -> None:
        if self._kind == "integer" and not _all_match(INTEGER, values):
            self._kind = "number"
        if self._kind == "number" and not _all_match(NUMBER, values):
            self._kind = "text"
        elif values:
            numbers = [float(value) for value in values]
            self._minimum, self._maximum = min(self._minimum, *numbers), max(self._maximum, *numbers)
            if math.isinf(self._minimum) or math.isinf(self._maximum):
                self._kind = "text"

    def summary(self) -> Column:
        is_number = self._kind in ("integer", "number") and self._minimum <= self._maximum
        return Column(
            name=self._name,
            kind=self._kind if is_number or self._kind == "list" else "text",
            empty=self._empty,
            distinct=self._label_counts(),
            minimum=self._minimum if is_number else None,
            maximum=self._maximum if is_number else None,
            lengths=_lengths(self._words),
        )

    def _label_counts(self) -> dict[str, int] | None:
        if self._distinct is None or len(self._distinct) > max(FEW_VALUES, self._distinct.total() // 2):
            return None
        return dict(self._distinct.most_common())


def _texts(values: Iterable[Value]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        else:
            yield from value


def _all_match(pattern: re.Pattern[str], values: Iterable[str]) -> bool:
    return all(map(pattern.fullmatch, values))


def _lengths(words: Counter[int]) -> Lengths:
    """Percentiles by nearest rank from the number of values of each length."""
    lengths = np.array(sorted(words), np.int64)
    ranks = np.cumsum([words[length] for length in lengths.tolist()])
    rows = int(ranks[-1])

    def percentile(share: float) -> int:
        return int(lengths[np.searchsorted(ranks, math.ceil(share * rows))])

    return Lengths(
        mean=sum(length * count for length, count in words.items()) / rows,
        p50=percentile(0.5),
        p95=percentile(0.95),
        p99=percentile(0.99),
        max=int(lengths[-1]),
    )
