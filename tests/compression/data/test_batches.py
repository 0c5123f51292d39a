"""Batches: every row once, little padding, and a position that two numbers tell."""

import numpy as np
import torch

from compression.data.batches import collate, epoch_batches, evaluation_batches, few_lengths
from compression.data.encoding import Encoded
from tests.compression.encoded import classification, of_rows

CPU = torch.device("cpu")


def encoded(rows: int, seed: int = 0) -> Encoded:
    lengths = np.random.default_rng(seed).integers(3, 60, rows)
    return of_rows(classification(), np.arange(rows, dtype=np.int64), lengths.tolist())


def test_an_epoch_has_every_row_once_in_batches_of_one_size() -> None:
    batches = epoch_batches(encoded(1003), 8, seed=1, epoch=0)
    assert sorted(np.concatenate(batches)) == list(range(1003))
    assert sorted({len(batch) for batch in batches}) == [3, 8]


def test_order_is_a_function_of_seed_and_epoch() -> None:
    data = encoded(200)

    def order(seed: int, epoch: int) -> list[int]:
        return [int(row) for batch in epoch_batches(data, 8, seed, epoch) for row in batch]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_rows_of_like_length_share_a_batch() -> None:
    data = encoded(4000)
    lengths = data.lengths
    padded = sum(len(batch) * lengths[batch].max() for batch in epoch_batches(data, 32, 1, 0))
    assert padded / lengths.sum() < 1.05


def test_rows_are_padded_to_the_longest_of_their_batch() -> None:
    data = encoded(10)
    batch = collate(data, np.array([3, 7]), CPU)
    lengths = data.lengths[[3, 7]]
    assert batch.input_ids.shape == (2, lengths.max())
    assert batch.attention_mask is not None
    assert batch.attention_mask.sum(1).tolist() == lengths.tolist()
    assert batch.input_ids[0, : lengths[0]].tolist() == [4] * lengths[0]
    assert (batch.input_ids * (1 - batch.attention_mask)).sum() == 0


def test_rows_have_few_lengths_at_little_padding() -> None:
    padded = {length: few_lengths(length) for length in range(1, 513)}
    assert [padded[length] for length in (1, 16, 17, 32, 33, 66, 128, 512)] == [
        1,
        16,
        18,
        32,
        36,
        72,
        128,
        512,
    ]
    assert all(length <= longer < length * 9 / 8 for length, longer in padded.items())
    assert len({padded[length] for length in range(1, 129)}) == 40


def test_rows_of_one_length_need_no_mask() -> None:
    assert collate(encoded(10), np.array([3, 3]), CPU).attention_mask is None


def test_evaluation_sees_every_row_once_longest_first() -> None:
    data = encoded(500)
    batches = list(evaluation_batches(data, CPU))
    assert sorted(np.concatenate([b.rows for b in batches])) == list(range(500))
    widths = [b.input_ids.shape[1] for b in batches]
    assert widths == sorted(widths, reverse=True)
