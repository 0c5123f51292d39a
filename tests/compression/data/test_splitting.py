"""Rows are dealt out in exact shares, at random, and always the same way."""

import numpy as np
import pytest

from compression.data.splitting import check_ratios, deal_rows
from compression.data.summary import SplitName
from compression.errors import InputError


@pytest.mark.parametrize(
    ("rows", "ratios", "sizes"),
    [
        (100, {"train": 0.9, "validation": 0.1}, [90, 10]),
        (101, {"train": 0.8, "validation": 0.1, "test": 0.1}, [81, 10, 10]),
        (10, {"validation": 1 / 3, "train": 2 / 3}, [3, 7]),
        (7, {"train": 1.0}, [7]),
    ],
)
def test_exact_shares(rows: int, ratios: dict[SplitName, float], sizes: list[int]) -> None:
    assert np.bincount(deal_rows(rows, ratios, seed=1)).tolist() == sizes


def test_the_seed_decides() -> None:
    ratios: dict[SplitName, float] = {"train": 0.5, "test": 0.5}
    # A change of these rows would give every user other splits for the same request.
    assert deal_rows(12, ratios, seed=42).tolist() == [0, 1, 0, 1, 1, 0, 1, 1, 0, 0, 0, 1]
    assert deal_rows(1000, ratios, seed=1).tolist() != deal_rows(1000, ratios, seed=2).tolist()


def test_too_few_rows() -> None:
    with pytest.raises(InputError, match="'validation' would get none") as caught:
        deal_rows(3, {"train": 0.9, "validation": 0.1}, seed=0)
    assert caught.value.code == "too_few_rows"


@pytest.mark.parametrize(
    "ratios",
    [
        {},
        {"validation": 1.0},
        {"train": 0.9},
        {"train": 1.1, "test": -0.1},
        {"train": 1.0, "test": 0.0},
        {"train": float("nan")},
    ],
)
def test_refuses_wrong_ratios(ratios: dict[SplitName, float]) -> None:
    with pytest.raises(InputError) as caught:
        check_ratios(ratios)
    assert (caught.value.code, caught.value.problems[0].place) == ("invalid_split", "split")
