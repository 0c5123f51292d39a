"""Token classification at work: a word's tag is that of its first word piece (Devlin et al. 2019, section 5.3)."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from scipy.special import softmax
from sklearn import metrics as sklearn_metrics
from tokenizers import Encoding, pre_tokenizers
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from compression.data.batches import Batch
from compression.data.encoding import UNLABELLED, Array, Encoded, offsets_of, pad_piece, tokenize
from compression.errors import InputError, Problem
from compression.evaluation.classes import class_results
from compression.evaluation.loyalty import Agreement, probability_agreement
from compression.report.schema import ClassResult
from compression.tasks.behaviour import Behaviour
from compression.tasks.columns import MetricName
from compression.tasks.token_classification.entities import Entity, entities
from compression.tasks.token_classification.resolution import TokenClassificationTask

INSIDE = -1
"""Of a word piece that is not the first of a word."""


class TokenClassification(Behaviour[TokenClassificationTask]):
    """One output for each word that is not cut off: logits (K, C). `extra["words"]` (K,) are the words' places."""

    def encode(self, tokenizer: PreTrainedTokenizerFast, table: pa.Table) -> Encoded:
        """The rows' words.

        Raises:
            InputError: the tokenizer knows none of them, or the tags are not theirs.
        """
        first = tokenizer.backend_tokenizer.pre_tokenizer
        if isinstance(first, pre_tokenizers.ByteLevel):
            first.add_prefix_space = True  # words stand apart, also where no space tells so
            tokenizer.backend_tokenizer.pre_tokenizer = first
        # A list without words would be no sequence at all to the tokenizer.
        inputs = [words or [""] for words in table.column("tokens").to_pylist()]
        pieces = tokenize(tokenizer, inputs, self.task.max_length, _words, pretokenized=True)
        marked = pieces.notes != INSIDE
        if not marked.any():
            message = f"column {self.task.columns.tokens!r} holds no word that the tokenizer knows"
            raise InputError(Problem("no_text", message, "/task/columns/tokens"))
        outputs = offsets_of(marked)[pieces.offsets]
        words = pieces.notes[marked]
        return Encoded(
            task=self.task,
            table=table,
            pieces=pieces.pieces,
            offsets=pieces.offsets,
            segments=pieces.segments,
            labels=self._labels(table, outputs, words),
            outputs=outputs,
            pad_piece=pad_piece(tokenizer),
            marked=marked,
            cut=pieces.cut,
            extra={"words": words},
        )

    def _labels(self, table: pa.Table, outputs: Array, words: Array) -> Array:
        if "tags" not in table.column_names:
            return np.full(len(words), UNLABELLED, dtype=np.int64)
        rows: Iterator[Any] = zip(
            table.column("tokens").to_pylist(), table.column("tags").to_pylist(), strict=True
        )
        ids = [self._ids(row, tokens or [], tags) for row, (tokens, tags) in enumerate(rows, start=1)]
        starts = offsets_of([len(row) for row in ids])[:-1]
        return np.concatenate(ids)[np.repeat(starts, np.diff(outputs)) + words]

    def _ids(self, row: int, tokens: list[str], tags: list[str]) -> Array:
        """The class ids of the words of a row; none of them has one where there are no tags."""
        if not tags:
            return np.full(len(tokens), UNLABELLED, dtype=np.int64)
        if len(tags) != len(tokens):
            message = f"row {row} has {len(tokens)} words, but {len(tags)} tags"
            raise InputError(Problem("tags_do_not_match", message, "/task/columns/tags"))
        if "" in tags:
            message = (
                f"row {row}: word {tags.index('') + 1} has no tag: give it one; an empty list, in rows to learn from, "
                "leaves all tags of a row to the original"
            )
            raise InputError(Problem("missing_tag", message, "/task/columns/tags"))
        return np.array([self.task.labels[tag] for tag in tags], dtype=np.int64)

    def cut_off(self, data: Encoded) -> dict[str, tuple[int, int]]:
        words = np.array([len(tokens or []) for tokens in data.table.column("tokens").to_pylist()])
        without_output = words - np.diff(data.outputs)
        return super().cut_off(data) | {"words": (int(without_output[data.cut].sum()), int(words.sum()))}

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        total = functional.cross_entropy(
            logits.float(), batch.labels, ignore_index=UNLABELLED, reduction="sum"
        )
        return total / (batch.labels != UNLABELLED).sum().clamp(min=1)

    def pseudo_labels(self, logits: Array, data: Encoded) -> Array:
        return np.asarray(logits.argmax(axis=1))

    def metric(self, name: MetricName, logits: Array, data: Encoded) -> Callable[[Array], float]:
        predicted = logits.argmax(axis=1)
        match name:
            case "accuracy":
                right, words = data.sums(predicted == data.labels), np.diff(data.outputs)
                return lambda rows: _ratio(right[rows].sum(), words[rows].sum())
            case "f1_macro":
                return lambda rows: self._macro(
                    _of_rows(predicted, rows, data), _of_rows(data.labels, rows, data)
                )
            case _:
                counts = self._entity_counts(predicted, data).sum(axis=1)
                return lambda rows: _of_counts(name, counts[rows].sum(axis=0))

    def _macro(self, predicted: Array, labels: Array) -> float:
        return float(sklearn_metrics.f1_score(labels, predicted, average="macro", zero_division=0))

    @property
    def _types(self) -> list[str]:
        return sorted({name.partition("-")[2] for name in self.task.label_names if name != "O"})

    def _entity_counts(self, predicted: Array, data: Encoded) -> Array:
        """Entities found, predicted and true by row and type (N, T, 3)."""
        types = {name: i for i, name in enumerate(self._types)}
        counts = np.zeros((data.table.num_rows, len(types), 3), dtype=np.int64)
        for row in range(data.table.num_rows):
            found, true = (
                set(self._entities(predicted, data, row)),
                set(self._entities(data.labels, data, row)),
            )
            for column, group in enumerate((found & true, found, true)):
                for name, times in Counter(entity[0] for entity in group).items():
                    counts[row, types[name], column] = times
        return counts

    def _entities(self, ids: Array, data: Encoded, row: int) -> Iterator[Entity]:
        return entities([self.task.label_names[i] for i in data.of_row(ids, row)])

    def verdicts(self, logits: Array, data: Encoded) -> Array:
        right: Array = data.sums(logits.argmax(axis=1) != data.labels) == 0
        return right

    def agreement(self, before: Array, after: Array, data: Encoded) -> Agreement:
        words = np.diff(data.outputs)
        same = data.sums(before.argmax(axis=1) == after.argmax(axis=1))
        close = data.sums(probability_agreement(before, after))
        return Agreement(same / np.maximum(words, 1), close / np.maximum(words, 1), words)

    def classes(self, logits: Array, data: Encoded) -> list[ClassResult]:
        predicted = logits.argmax(axis=1)
        if self.task.scheme == "tags":
            return class_results(data.labels, predicted, self.task.label_names)
        counts = self._entity_counts(predicted, data).sum(axis=0)
        return [
            ClassResult(
                label=name,
                rows=int(counted[2]),
                precision=_of_counts("precision", counted),
                recall=_of_counts("recall", counted),
                f1=_of_counts("f1", counted),
            )
            for name, counted in zip(self._types, counts, strict=True)
        ]

    def confidence(self, logits: Array, data: Encoded) -> Array:
        return data.sums(softmax(logits, axis=1).max(axis=1)) / np.maximum(np.diff(data.outputs), 1)

    def answer(self, logits: Array, data: Encoded, row: int) -> Any:
        """The tag of each word; null for words that were cut off."""
        tags: list[str | None] = [None] * len(data.table.column("tokens")[row])
        for word, i in zip(
            data.of_row(data.extra["words"], row), data.of_row(logits, row).argmax(axis=1), strict=True
        ):
            tags[word] = self.task.label_names[i]
        return tags

    def contrast(self, before: Array, after: Array, data: Encoded, row: int) -> tuple[str, str, str]:
        """What is marked where the two models differ: entities, or single words with their tags."""
        words = [data.table.column("tokens")[row].as_py()[i] for i in data.of_row(data.extra["words"], row)]
        old, new = before.argmax(axis=1), after.argmax(axis=1)
        if self.task.scheme == "tags":
            differ = np.flatnonzero(data.of_row(old != new, row))
            names = self.task.label_names
            tagged = [
                ", ".join(f"{words[i]} {names[data.of_row(ids, row)[i]]}" for i in differ)
                for ids in (data.labels, old, new)
            ]
            return tagged[0], tagged[1], tagged[2]
        true, first, second = (set(self._entities(ids, data, row)) for ids in (data.labels, old, new))
        agreed = first & second
        return _named(true - agreed, words), _named(first - agreed, words), _named(second - agreed, words)

    def texts(self, data: Encoded, row: int) -> tuple[str, str | None]:
        return " ".join(data.table.column("tokens")[row].as_py()), None

    def doubt(self, logits: Array, data: Encoded) -> tuple[str, str] | None:
        predicted = np.unique(logits.argmax(axis=1))
        if len(predicted) > 1 or len(np.unique(data.labels)) == 1:  # words of one tag tell no classes apart
            return None
        name = self.task.label_names[predicted[0]]
        return (
            "stuck_at_one_class",
            f"the model tags every word of the validation rows {name!r}: train longer, or start from layers of each "
            "module",
        )


def _words(row: Encoding) -> Array:
    """For each word piece the number of its word, if it is its first piece."""
    words = [INSIDE if word is None else word for word in row.word_ids] or [INSIDE]
    return np.array(
        [INSIDE if a == b else b for a, b in zip([INSIDE, *words], words, strict=False)], dtype=np.int64
    )


def _of_rows(values: Array, rows: Array, data: Encoded) -> Array:
    return np.concatenate([data.of_row(values, row) for row in rows])


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _of_counts(name: MetricName, counts: Array) -> float:
    """Precision, recall or F1 of entities found, predicted and true."""
    found, predicted, true = counts.tolist()
    match name:
        case "precision":
            return _ratio(found, predicted)
        case "recall":
            return _ratio(found, true)
        case _:
            return _ratio(2 * found, predicted + true)


def _named(chosen: set[Entity], words: list[str]) -> str:
    """`person: Ada Lovelace, location: London`"""
    found = sorted(chosen, key=lambda entity: entity[1])
    return ", ".join(f"{kind}: {' '.join(words[start : end + 1])}" for kind, start, end in found) or "\u2013"


BEHAVIOUR = TokenClassification
