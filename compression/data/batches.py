"""Batches of rows of like length, each padded to its own longest row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from compression.data.encoding import Encoded
from compression.tasks.resolution import Task

WINDOW = 200
"""Batches sorted by length together; small enough that batches stay a random sample, large enough to save padding."""
EVALUATION_PIECES, GPU_EVALUATION_PIECES = 1024, 4096
"""Word pieces per evaluation batch, padding included: keeps memory even for long rows. What a CPU works on stays in its
caches; a GPU is kept busy, but for tasks that have an output for each piece of a vocabulary."""


@dataclass(frozen=True, slots=True)
class Batch:
    """B sequences of L word pieces: `input_ids`, `token_type_ids`, `attention_mask` (B, L); `rows` (B,) their numbers.

    The model has K outputs that count: one for each sequence, or those at the `marked` (B, L) pieces, in order.
    `outputs` (K,) are their numbers among those of the split, `labels` (K, ...) what they should be.
    """

    task: Task

    input_ids: torch.Tensor
    token_type_ids: torch.Tensor | None
    attention_mask: torch.Tensor | None
    """None where no row is padded."""
    labels: torch.Tensor
    rows: npt.NDArray[np.int64]
    outputs: npt.NDArray[np.int64]
    marked: torch.Tensor | None = None

    @property
    def inputs(self) -> dict[str, torch.Tensor]:
        """Keyword arguments of a transformers model."""
        inputs = {"input_ids": self.input_ids}
        if self.attention_mask is not None:
            inputs["attention_mask"] = self.attention_mask
        if self.token_type_ids is not None:
            inputs["token_type_ids"] = self.token_type_ids
        return inputs


def few_lengths(length: int) -> int:
    """`length` or a little more: a number of four significant binary digits, of which there are few.

    Matrix kernels are made anew for every length of row, at some 10 MB and 20 ms each on a CPU; this pads by 2 % and
    makes 40 lengths of the first 128.
    """
    step = 1 << max(0, length.bit_length() - 4)
    return -(-length // step) * step


def collate(
    data: Encoded,
    rows: npt.NDArray[np.int64],
    device: torch.device,
    padded_to: int | None = None,
    draw: Sequence[int] = (),
) -> Batch:
    """The rows as tensors, as long as the longest of them, or as `padded_to`.

    Where pieces are hidden, `draw` decides which: without it, the same ones each time.
    """
    lengths = data.lengths[rows]
    longest = padded_to or int(lengths.max())
    real = np.arange(longest) < lengths[:, None]
    places = _ranges(data.offsets, rows)
    pieces, marks = data.pieces[places], None if data.marked is None else data.marked[places]
    outputs = rows if marks is None else _ranges(data.outputs, rows)
    if marks is not None and data.masking is not None:
        pieces, hidden = data.masking.hide(pieces, marks, lengths, rows, draw)
        outputs, marks = outputs[hidden[marks]], hidden
    input_ids = np.full(real.shape, data.pad_piece, dtype=np.int64)
    input_ids[real] = pieces
    segments = None
    if data.segments is not None:
        segments = np.zeros(real.shape, dtype=np.int64)
        segments[real] = data.segments[places]
    marked = None
    if marks is not None:
        marked = np.zeros(real.shape, dtype=np.bool_)
        marked[real] = marks
    return Batch(
        task=data.task,
        input_ids=torch.from_numpy(input_ids).to(device),
        token_type_ids=None if segments is None else torch.from_numpy(segments).to(device),
        attention_mask=None if real.all() else torch.from_numpy(real.astype(np.int64)).to(device),
        labels=torch.from_numpy(data.labels[outputs]).to(device),
        rows=rows,
        outputs=outputs,
        marked=None if marked is None else torch.from_numpy(marked).to(device),
    )


def _ranges(offsets: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.arange(offsets[row], offsets[row + 1]) for row in rows])


def epoch_batches(
    data: Encoded, batch_size: int, seed: int, epoch: int, *, by_length: bool = True
) -> list[npt.NDArray[np.int64]]:
    """Row numbers of each batch of an epoch; a function of seed and epoch, so that a position is two numbers."""
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(data))
    if not by_length:
        return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    lengths = data.lengths
    batches: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(order), WINDOW * batch_size):
        window = order[start : start + WINDOW * batch_size]
        window = window[np.argsort(lengths[window], kind="stable")]
        batches += [window[i : i + batch_size] for i in range(0, len(window), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]


def evaluation_batches(
    data: Encoded, device: torch.device, sequences: npt.NDArray[np.int64] | None = None
) -> Iterator[Batch]:
    """Every sequence once, or each of those asked for, longest first, so that what does not fit fails at once."""
    lengths = data.lengths
    order = np.argsort(-lengths, kind="stable") if sequences is None else sequences
    order = order[np.argsort(-lengths[order], kind="stable")]
    few = device.type == "cpu" or data.task.PREDICTS_PIECES
    most = EVALUATION_PIECES if few else GPU_EVALUATION_PIECES
    start = 0
    while start < len(order):
        size = max(1, most // int(lengths[order[start]]))
        yield collate(data, order[start : start + size], device)
        start += size
