"""Deals the rows of one file out to splits."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from compression.data.summary import SplitName
from compression.errors import InputError, Problem


def check_ratios(ratios: Mapping[SplitName, float]) -> None:
    """Raises InputError unless the ratios are positive, sum to one and give rows to train."""
    positive = all(ratio > 0 for ratio in ratios.values())
    if "train" not in ratios or not positive or abs(sum(ratios.values()) - 1) > 1e-6:
        message = "ratios are above 0, sum to 1 and include train: {'train': 0.9, 'validation': 0.1}"
        raise InputError(Problem("invalid_split", message, "split"))


def deal_rows(rows: int, ratios: Mapping[SplitName, float], seed: int) -> npt.NDArray[np.int8]:
    """The split of each row (N,), as the position in `ratios`: random by seed, in exactly these shares up to rounding.

    Raises:
        InputError: so few rows that a split would get none.
    """
    ends = np.rint(np.cumsum(list(ratios.values())) * rows).astype(np.int64)
    sizes = np.diff(ends, prepend=0)
    if sizes.min() < 1:
        message = f"with {rows} rows, {list(ratios)[int(sizes.argmin())]!r} would get none"
        raise InputError(Problem("too_few_rows", message, "split"))
    # RandomState is the one generator whose numbers NumPy promises never to change.
    order = np.random.RandomState(seed).permutation(rows)
    splits = np.empty(rows, np.int8)
    splits[order] = np.repeat(np.arange(len(sizes), dtype=np.int8), sizes)
    return splits
