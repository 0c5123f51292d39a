"""What a model is timed with: rows of median length, whatever the others are and however many there are."""

import numpy as np
import pytest
import torch

from compression.evaluation.cost import typical_inputs
from tests.compression.encoded import classification, of_rows


@pytest.mark.parametrize("size", [1, 2, 6, 7, 32])
def test_rows_of_a_batch_are_of_median_length(size: int) -> None:
    rows = of_rows(classification(), np.zeros(7), [3, 50, 40, 50, 60, 3, 50])
    pieces = typical_inputs(rows, size, torch.device("cpu"))["input_ids"]
    assert pieces.shape == (size, 50)
    assert (pieces != rows.pad_piece).all()
