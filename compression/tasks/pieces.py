"""Language models at work: the probability that a model gives to the word pieces that stand in a text.

The logits of a whole vocabulary are too many to keep. What is kept of each place, as a row of an array
(K, 1 + 2 * LIKELIEST), is the log-probability of the piece that stands there, then the ids of the likeliest pieces,
then their log-probabilities.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from compression.data.batches import Batch
from compression.data.encoding import Array, Encoded
from compression.evaluation.loyalty import Agreement, distribution_likeness
from compression.evaluation.onnx_model import OnnxModel
from compression.tasks.behaviour import Behaviour
from compression.tasks.columns import BaseTask, MetricName

LIKELIEST = 32
PAIRS = 10_000
"""Places whose likeliest pieces are compared at a time."""
LARGEST_EXPONENT = 700.0

T = TypeVar("T", bound=BaseTask)


class PiecePrediction(Behaviour[T]):
    """An output for each marked word piece, which is its label."""

    def equipped(self, data: Encoded, tokenizer: PreTrainedTokenizerFast) -> Encoded:
        return replace(data, vocabulary=tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))

    def logits(self, model: PreTrainedModel | OnnxModel, batch: Batch) -> torch.Tensor:
        """Those of a model are computed at the marked pieces alone: of all they would be (B, L, vocabulary)."""
        if isinstance(model, OnnxModel):
            return super().logits(model, batch)
        assert batch.marked is not None
        return logits_at(model, batch.inputs, batch.marked)

    def condensed(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        log_probabilities = logits.float().log_softmax(dim=-1)
        right = log_probabilities.gather(1, batch.labels[:, None])
        values, pieces = log_probabilities.topk(min(LIKELIEST, logits.shape[1]), dim=-1)
        return torch.cat([right, pieces.float(), values], dim=1)

    def comparable(self, logits: Array) -> Array:
        """Without ids, which change places where two pieces are as likely."""
        return logits[:, :1]

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return functional.cross_entropy(logits.float(), batch.labels, reduction="sum") / max(len(logits), 1)

    def pseudo_labels(self, logits: Array, data: Encoded) -> Array:
        return _likeliest(logits)

    def metric(self, name: MetricName, logits: Array, data: Encoded) -> Callable[[Array], float]:
        guessed = ~np.isnan(logits[:, 0])  # in rows to learn from, no others than those that are hidden
        counts = data.sums(guessed)
        if name == "accuracy":
            right = data.sums(_likeliest(logits) == data.labels)
            return lambda rows: float(right[rows].sum() / max(counts[rows].sum(), 1))
        surprise = data.sums(np.where(guessed, -logits[:, 0], 0))
        return lambda rows: perplexity(surprise[rows].sum(), counts[rows].sum())

    def verdicts(self, logits: Array, data: Encoded) -> Array:
        """How surprised the model is by a piece of each row, on average: -log p."""
        return -data.sums(logits[:, 0]) / np.maximum(data.sums(np.ones(len(logits))), 1)

    def agreement(self, before: Array, after: Array, data: Encoded) -> Agreement:
        places = data.sums(np.ones(len(before)))
        same = data.sums(_likeliest(before) == _likeliest(after))
        starts = range(0, len(before), PAIRS)
        close = [likeness(before[start : start + PAIRS], after[start : start + PAIRS]) for start in starts]
        each = np.maximum(places, 1)
        return Agreement(same / each, data.sums(np.concatenate(close)) / each, places)

    def confidence(self, logits: Array, data: Encoded) -> Array:
        return data.sums(np.exp(logits[:, 1 + logits.shape[1] // 2])) / np.maximum(np.diff(data.by_row), 1)

    def answer(self, logits: Array, data: Encoded, row: int) -> Any:
        """The likeliest piece at each place."""
        return self._named(_likeliest(data.of_row(logits, row)), data)

    def truth(self, data: Encoded, row: int) -> Any:
        return self._named(data.of_row(data.labels, row), data)

    def contrast(self, before: Array, after: Array, data: Encoded, row: int) -> tuple[str, str, str]:
        """What stands at the places on which the two models differ, and what each says."""
        answers = self.truth(data, row), self.answer(before, data, row), self.answer(after, data, row)
        differ = [place for place in zip(*answers, strict=True) if place[1] != place[2]]
        truth, old, new = (" ".join(pieces) for pieces in zip(*differ, strict=True))
        return truth, old, new

    def _named(self, pieces: Array, data: Encoded) -> list[str]:
        return [data.vocabulary[piece] for piece in pieces.tolist()]


def logits_at(model: PreTrainedModel, inputs: dict[str, torch.Tensor], marked: torch.Tensor) -> torch.Tensor:
    """A language model's logits (K, vocabulary) at the marked places (B, L) of its inputs."""
    decoder = model.get_output_embeddings()
    hook = decoder.register_forward_pre_hook(lambda _module, inputs: inputs[0][marked])
    try:
        logits: torch.Tensor = model(**inputs).logits
    finally:
        hook.remove()
    return logits


def sample(places: Array, most: int) -> Array:
    """At most so many of the places, drawn at random but always the same ones, in their order."""
    if len(places) <= most:
        return places
    # RandomState is the one generator whose numbers NumPy promises never to change.
    chosen: Array = np.sort(np.random.RandomState(0).choice(places, most, replace=False))
    return chosen


def perplexity(surprise: float, places: float) -> float:
    """exp of the mean -log p over so many places; finite where a model is hopeless, and 1 where there is nothing."""
    return float(np.exp(min(surprise / max(places, 1), LARGEST_EXPONENT)))


def likeness(before: Array, after: Array) -> Array:
    """1 - sqrt(JSD), base 2, at each place (K,) of what was kept of two models.

    Over the pieces that are among the likeliest of either and all others as one; a piece that is not among those of a
    model counts to its others.
    """
    (old, old_p), (new, new_p) = _distribution(before), _distribution(after)
    same = old[:, :, None] == new[:, None, :]
    only_new = ~same.any(axis=1)
    nothing = np.zeros_like(old_p)
    first = np.concatenate([old_p, nothing], axis=1)
    second = np.concatenate([(same * new_p[:, None, :]).sum(axis=2), new_p * only_new], axis=1)
    parts = [
        np.concatenate([p, np.clip(1 - p.sum(axis=1, keepdims=True), 0, 1)], axis=1) for p in (first, second)
    ]
    return distribution_likeness(*parts)


def _distribution(logits: Array) -> tuple[Array, Array]:
    """Ids and probabilities of the likeliest pieces (K, LIKELIEST)."""
    ids, log_probabilities = np.split(logits[:, 1:], 2, axis=1)
    return ids, np.exp(log_probabilities.astype(np.float64))


def _likeliest(logits: Array) -> Array:
    """Id of the likeliest piece (K,)."""
    return np.nan_to_num(logits[:, 1], nan=-1).astype(np.int64)
