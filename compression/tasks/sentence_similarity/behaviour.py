"""Embeddings of sentences at work: a model learns the original's by 1 - cosine, and is measured by what it finds alike.

The outputs are the embeddings themselves: `logits` (K, H), one for each text, two for a pair; the labels (K, H) are the
original's (Reimers and Gurevych 2020, section 2, with the cosine in the place of the squared distance).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from scipy import stats
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from compression.data.batches import Batch
from compression.data.encoding import Array, Encoded, offsets_of, pad_piece, tokenize
from compression.evaluation.loyalty import Agreement
from compression.evaluation.onnx_model import OnnxModel
from compression.tasks.behaviour import Behaviour
from compression.tasks.columns import MetricName
from compression.tasks.sentence_similarity.resolution import SentenceSimilarityTask


class SentenceSimilarity(Behaviour[SentenceSimilarityTask]):
    """An output for each text. `extra["scores"]` (N,) are those of the pairs, NaN where there is none."""

    RECORDS_LOGITS = False

    def encode(self, tokenizer: PreTrainedTokenizerFast, table: pa.Table) -> Encoded:
        columns = [table.column(role).to_pylist() for role in self.task.READ if role in table.column_names]
        texts = [text for row in zip(*columns, strict=True) for text in row]
        pieces = tokenize(tokenizer, texts, self.task.max_length)
        scores = table.column("score").to_pylist() if "score" in table.column_names else [""] * table.num_rows
        return Encoded(
            task=self.task,
            table=table,
            pieces=pieces.pieces,
            offsets=pieces.offsets,
            segments=None,
            labels=np.full((len(texts), 1), np.nan, dtype=np.float32),
            outputs=np.arange(len(texts) + 1),
            pad_piece=pad_piece(tokenizer),
            sequences=offsets_of([len(columns)] * table.num_rows),
            cut=np.asarray(pieces.cut.reshape(-1, len(columns)).any(axis=1)),
            extra={"scores": np.array([float(score or "nan") for score in scores])},
        )

    def logits(self, model: PreTrainedModel | OnnxModel, batch: Batch) -> torch.Tensor:
        states = model(**batch.inputs).last_hidden_state.float()
        embeddings = self._pooled(states, batch.attention_mask)
        return functional.normalize(embeddings, dim=-1) if self.task.normalize else embeddings

    def _pooled(self, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """One vector (B, H) of the states (B, L, H) of the word pieces that are shown."""
        if self.task.pooling == "cls":
            return states[:, 0]
        shown = torch.ones(states.shape[:2], device=states.device) if mask is None else mask
        if self.task.pooling == "max":
            return states.masked_fill(shown[..., None] == 0, -torch.inf).amax(dim=1)
        return (states * shown[..., None]).sum(dim=1) / shown.sum(dim=1, keepdim=True)

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return 1 - functional.cosine_similarity(logits.float(), batch.labels, dim=-1).mean()

    def probe(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The embeddings along random directions: where a model is its own teacher, its loss has no gradient."""
        draw = torch.Generator().manual_seed(len(logits))
        signs = torch.randint(2, logits.shape, generator=draw).to(logits.device) * 2 - 1
        return (logits * signs).sum(dim=-1).mean()

    def pull(
        self, logits: torch.Tensor, teacher: torch.Tensor, batch: Batch, temperature: float
    ) -> torch.Tensor:
        return 1 - functional.cosine_similarity(logits.float(), teacher.float(), dim=-1).mean()

    def pseudo_labels(self, logits: Array, data: Encoded) -> Array:
        return logits

    def metric(self, name: MetricName, logits: Array, data: Encoded) -> Callable[[Array], float]:
        if name == "cosine":
            likeness = self._likeness(logits, data.labels, data)
            return lambda rows: float(likeness[rows].mean())
        cosines, scores = self._cosines(logits, data), data.extra["scores"]
        correlation = stats.pearsonr if name == "pearson" else stats.spearmanr

        def correlated(rows: Array) -> float:
            if np.ptp(cosines[rows]) == 0 or np.ptp(scores[rows]) == 0:
                return 0.0
            return float(correlation(cosines[rows], scores[rows]).statistic)

        return correlated

    def verdicts(self, logits: Array, data: Encoded) -> Array:
        """How many ranks a pair is away from its score's, as a share; without scores, 1 - cosine with the original."""
        if self.task.judged_by == "original":
            return np.asarray(np.maximum(0, 1 - self._likeness(logits, data.labels, data)))
        ranks = [stats.rankdata(values) for values in (self._cosines(logits, data), data.extra["scores"])]
        return np.asarray(np.abs(ranks[0] - ranks[1]) / len(ranks[0]))

    def agreement(self, before: Array, after: Array, data: Encoded) -> Agreement:
        close = np.clip(self._likeness(before, after, data), 0, 1)
        return Agreement(None, close, np.ones(len(close)))

    def recorded(self, logits: Array, data: Encoded) -> list[Array]:
        """The cosine of each row's two texts, or of its one text and the next row's: vectors tell a reader nothing."""
        return list(self._cosines(logits, data))

    def answer(self, logits: Array, data: Encoded, row: int) -> Any:
        """The cosine of the embeddings of the two texts; of the one text, that of its embedding and the original's."""
        own, labels = data.of_row(logits, row), data.of_row(data.labels, row)
        return float(_cosine(own[:1], own[1:] if len(own) == 2 else labels)[0])

    def truth(self, data: Encoded, row: int) -> Any:
        return float(data.extra["scores"][row])

    def _likeness(self, first: Array, second: Array, data: Encoded) -> Array:
        """Mean cosine of two models' embeddings of the texts of each row (N,)."""
        return data.sums(_cosine(first, second)) / np.diff(data.by_row)

    def _cosines(self, logits: Array, data: Encoded) -> Array:
        """Of the two texts of each row (N,), or of each text and the next."""
        if "text_pair" not in data.table.column_names:
            return _cosine(logits, np.roll(logits, -1, axis=0))
        return _cosine(logits[0::2], logits[1::2])


def _cosine(first: Array, second: Array) -> Array:
    """Of vectors (N, H), in double precision, so that those of equal ones are equal."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(lengths, 1e-12))


BEHAVIOUR = SentenceSimilarity
