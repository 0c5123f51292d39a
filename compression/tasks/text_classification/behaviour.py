"""Text classification at work: cross-entropy of one label or of each of several, or the squared error of one score."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from scipy import stats
from scipy.special import expit, softmax
from sklearn import metrics as sklearn_metrics
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from compression.data.batches import Batch
from compression.data.encoding import UNLABELLED, Array, Encoded, pad_piece, tokenize
from compression.errors import InputError, Problem
from compression.evaluation import confusion
from compression.evaluation.classes import class_results
from compression.evaluation.loyalty import Agreement, probability_agreement, score_agreement
from compression.losses import soft_target_loss
from compression.report.schema import ClassResult
from compression.tasks.behaviour import Behaviour
from compression.tasks.columns import MetricName
from compression.tasks.text_classification.resolution import HOT, TextClassificationTask, labels_in


class TextClassification(Behaviour[TextClassificationTask]):
    """One output for each row: logits (N, C), of a regression (N, 1)."""

    @property
    def is_regression(self) -> bool:
        return self.task.problem_type == "regression"

    @property
    def has_several(self) -> bool:
        return self.task.problem_type == "multi_label"

    def encode(self, tokenizer: PreTrainedTokenizerFast, table: pa.Table) -> Encoded:
        columns = [table.column(role).to_pylist() for role in self.task.READ if role in table.column_names]
        inputs = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        pieces = tokenize(tokenizer, inputs, self.task.max_length, segments=len(columns) > 1)
        return Encoded(
            task=self.task,
            table=table,
            pieces=pieces.pieces,
            offsets=pieces.offsets,
            segments=pieces.segments,
            labels=self._labels(table),
            outputs=np.arange(len(inputs) + 1),
            pad_piece=pad_piece(tokenizer),
            cut=pieces.cut,
        )

    def _labels(self, table: pa.Table) -> Array:
        has_labels = "label" in table.column_names
        values: list[Any] = table.column("label").to_pylist() if has_labels else [""] * table.num_rows
        if self.is_regression:
            return np.array([float(value or "nan") for value in values], dtype=np.float32)
        if not self.has_several:
            ids = {**self.task.labels, "": UNLABELLED}
            return np.array([ids[value] for value in values], dtype=np.int64)
        shape = len(values), len(self.task.label_names)
        labels = np.zeros(shape, dtype=np.float32) if has_labels else np.full(shape, np.nan, dtype=np.float32)
        for row, value in enumerate(values):
            labels[row, [self.task.labels[label] for label in self._several(value, row)]] = 1
        return labels

    def _several(self, value: str | list[str], row: int) -> list[str]:
        """The labels of a row."""
        if self.task.multi_hot:
            return [str(place) for place, item in enumerate(value) if HOT[item]]
        if isinstance(value, str):
            return labels_in(value, self.task.separator)
        named = [label for item in value for label in labels_in(item, self.task.separator)]
        if len(set(named)) < len(named):
            message = (
                f"the list of row {row + 1} repeats a label: it must name each label once, or all lists must hold a "
                f"one or a zero for each of the model's {len(self.task.label_names)} labels"
            )
            raise InputError(Problem("repeated_label", message, "/task/columns/label"))
        return named

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        logits = logits.float()
        if self.is_regression:
            return functional.mse_loss(logits.squeeze(-1), batch.labels)
        if self.has_several:
            return functional.binary_cross_entropy_with_logits(logits, batch.labels)
        return functional.cross_entropy(logits, batch.labels)

    def pull(
        self, logits: torch.Tensor, teacher: torch.Tensor, batch: Batch, temperature: float
    ) -> torch.Tensor:
        if not self.has_several:
            return super().pull(logits, teacher, batch, temperature)
        # Each label is a choice of its own, between the logit and zero.
        pairs = [
            torch.stack([each, torch.zeros_like(each)], dim=-1).flatten(0, 1) for each in (logits, teacher)
        ]
        return soft_target_loss(pairs[0], pairs[1], temperature)

    def pseudo_labels(self, logits: Array, data: Encoded) -> Array:
        return self._predicted(logits)

    def metric(self, name: MetricName, logits: Array, data: Encoded) -> Callable[[Array], float]:
        predicted, labels = self._predicted(logits), data.labels
        if self.is_regression or self.has_several:
            return lambda rows: self._score(name, predicted[rows], labels[rows])
        classes = len(self.task.label_names)
        of_counts = {
            "accuracy": confusion.accuracy,
            "f1": confusion.f1_binary if classes == 2 else confusion.f1_macro,
            "f1_macro": confusion.f1_macro,
            "mcc": confusion.mcc,
        }[name]
        codes = labels * classes + predicted
        return lambda rows: of_counts(
            np.bincount(codes[rows], minlength=classes**2).reshape(classes, classes)
        )

    def _predicted(self, logits: Array) -> Array:
        """Class ids or scores (N,), of several labels whether each is there (N, C)."""
        if self.is_regression:
            return logits[:, 0]
        return logits > 0 if self.has_several else logits.argmax(axis=1)

    def _score(self, name: MetricName, predicted: Array, labels: Array) -> float:
        match name:
            case "f1_micro" | "f1_macro":
                average = name.removeprefix("f1_")
                return float(sklearn_metrics.f1_score(labels, predicted, average=average, zero_division=0))
            case "pearson" | "spearman":
                if np.ptp(predicted) == 0 or np.ptp(labels) == 0:
                    return 0.0
                correlation = stats.pearsonr if name == "pearson" else stats.spearmanr
                return float(correlation(predicted, labels).statistic)
            case _:
                return float(self._right(predicted, labels).mean())

    def _right(self, predicted: Array, labels: Array) -> Array:
        """Whether the label (N,) is right, or all of several."""
        right = np.asarray(predicted == labels)
        return np.asarray(right.all(axis=1)) if self.has_several else right

    def verdicts(self, logits: Array, data: Encoded) -> Array:
        predicted = self._predicted(logits)
        if self.is_regression:
            return np.asarray(np.abs(predicted - data.labels))
        return self._right(predicted, data.labels)

    def agreement(self, before: Array, after: Array, data: Encoded) -> Agreement:
        weight = np.ones(len(before))
        if self.is_regression:
            return Agreement(None, score_agreement(before[:, 0], after[:, 0], data.labels), weight)
        same = self._right(self._predicted(before), self._predicted(after))
        if self.has_several:
            pairs = [np.stack([logits.ravel(), np.zeros(logits.size)], axis=1) for logits in (before, after)]
            close = probability_agreement(*pairs).reshape(before.shape).mean(axis=1)
            return Agreement(same.astype(float), close, weight)
        return Agreement(same.astype(float), probability_agreement(before, after), weight)

    def classes(self, logits: Array, data: Encoded) -> list[ClassResult]:
        if self.is_regression:
            return []
        return class_results(data.labels, self._predicted(logits), self.task.label_names)

    def confidence(self, logits: Array, data: Encoded) -> Array:
        if self.is_regression:
            return super().confidence(logits, data)
        if self.has_several:
            return expit(np.abs(logits)).mean(axis=1)  # type: ignore[no-any-return]  # scipy has no types
        sure: Array = softmax(logits, axis=1).max(axis=1)
        return sure

    def answer(self, logits: Array, data: Encoded, row: int) -> Any:
        if self.is_regression:
            return float(logits[row, 0])
        return self._named(self._predicted(logits[row : row + 1])[0])

    def truth(self, data: Encoded, row: int) -> Any:
        return float(data.labels[row]) if self.is_regression else self._named(data.labels[row])

    def _named(self, label: Array) -> Any:
        names = self.task.label_names
        return [names[i] for i in np.flatnonzero(label)] if self.has_several else names[label]

    def contrast(self, before: Array, after: Array, data: Encoded, row: int) -> tuple[str, str, str]:
        if not self.has_several:
            return super().contrast(before, after, data, row)
        answers = self.truth(data, row), self.answer(before, data, row), self.answer(after, data, row)
        truth, old, new = (", ".join(labels) or "\u2013" for labels in answers)
        return truth, old, new

    def texts(self, data: Encoded, row: int) -> tuple[str, str | None]:
        pair = data.table.column("text_pair")[row].as_py() if self.task.columns.text_pair else None
        return data.table.column("text")[row].as_py(), pair

    def doubt(self, logits: Array, data: Encoded) -> tuple[str, str] | None:
        if self.is_regression or len(np.unique(self._predicted(logits), axis=0)) > 1:
            return None
        times = np.unique(data.labels, axis=0, return_counts=True)[1]
        if len(times) == 1:  # rows of one label tell no classes apart
            return None
        return (
            "stuck_at_one_class",
            "the model gives every validation row the same answer (the most frequent one is right for "
            f"{times.max() / times.sum():.1%}): train longer, or start from layers of each module",
        )


BEHAVIOUR = TextClassification
