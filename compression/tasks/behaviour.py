"""What is done differently for each task: how rows are encoded, what is learnt, and how a model is judged."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from compression.data.batches import Batch
from compression.data.encoding import Array, Encoded
from compression.evaluation.loyalty import Agreement
from compression.evaluation.onnx_model import OnnxModel
from compression.losses import soft_target_loss
from compression.report.schema import ClassResult
from compression.tasks.columns import BaseTask, MetricName
from compression.tasks.resolution import Task

T = TypeVar("T", bound=BaseTask)


class Behaviour(ABC, Generic[T]):
    """One task at work. `logits` (K, C) are those of all outputs of a split, in the order of `Encoded`."""

    RECORDS_LOGITS: ClassVar[bool] = True
    """What is recorded of the original is enough to label rows by."""

    def __init__(self, task: T) -> None:
        self.task = task

    @abstractmethod
    def encode(self, tokenizer: PreTrainedTokenizerFast, table: pa.Table) -> Encoded:
        """The rows of a table with a column for each role."""

    def encode_to_learn(self, tokenizer: PreTrainedTokenizerFast, table: pa.Table) -> Encoded:
        """The same for rows to learn from, where that is not the same."""
        return self.encode(tokenizer, table)

    def cut_off(self, data: Encoded) -> dict[str, tuple[int, int]]:
        """How much of what there is in the rows is cut off."""
        return {"rows": (int(data.cut.sum()), len(data.cut))}

    def limit(self, most: int) -> tuple[str, str]:
        """What is longer than what is read of it, and what can be done where the model reads so many word pieces."""
        cure = "raise task.max_length" if self.task.max_length < most else "cut them into shorter rows"
        return (
            f"Rows are longer than {self.task.max_length} word pieces",
            f"The model takes up to {most}: {cure}.",
        )

    def equipped(self, data: Encoded, tokenizer: PreTrainedTokenizerFast) -> Encoded:
        """Encoded rows with what is known of the tokenizer alone, where the task needs that."""
        return data

    def logits(self, model: PreTrainedModel | OnnxModel, batch: Batch) -> torch.Tensor:
        """The logits (K, C) that count, of what a model gives for a batch."""
        logits: torch.Tensor = model(**batch.inputs).logits
        return logits if batch.marked is None else logits[batch.marked]

    def condensed(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """What of the logits (K, C) of a batch is kept to measure a model by; all of it, where it is not too much."""
        return logits

    def recorded(self, logits: Array, data: Encoded) -> list[Array]:
        """What predictions.jsonl says of each row, so that a model is known again by it.

        The logits (k, C), or (C,) where each row has one output.
        """
        rows = [data.of_row(logits, row) for row in range(data.table.num_rows)]
        return rows if data.marked is not None or data.sequences is not None else [row[0] for row in rows]

    def comparable(self, logits: Array) -> Array:
        """Of what is recorded, the numbers in which little differences mean little."""
        return logits

    @abstractmethod
    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The scalar to minimise, of the logits (K, C) of a batch."""

    def probe(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """A scalar of the logits (K, C) whose gradients tell which weights matter; the loss, where it does."""
        return self.loss(logits, batch)

    def pull(
        self, logits: torch.Tensor, teacher: torch.Tensor, batch: Batch, temperature: float
    ) -> torch.Tensor:
        """How far the logits (K, C) of a batch are from the teacher's (K, C)."""
        return soft_target_loss(logits, teacher, temperature)

    @abstractmethod
    def pseudo_labels(self, logits: Array, data: Encoded) -> Array:
        """Labels (K, ...) that say what the logits say (Lee 2013)."""

    def labelled(self, logits: Array, data: Encoded) -> Encoded:
        """The rows with the answers of a model where they have no labels."""
        labels = np.where(data.unlabelled, self.pseudo_labels(logits, data), data.labels)
        return replace(data, labels=labels.astype(data.labels.dtype))

    @abstractmethod
    def metric(self, name: MetricName, logits: Array, data: Encoded) -> Callable[[Array], float]:
        """A metric as a function of row numbers, so that it can be computed for many samples of the rows.

        It is 0 where it is not defined, e.g. a correlation with a constant.
        """

    def statistic(self, name: MetricName, logits: Array, data: Encoded) -> Callable[[Array], float]:
        """A metric as `metric` gives it; loyalty is the usual one, where the original's answers stand for labels.

        Loyalty is 1 where all answers are the original's, also where the usual metric is not defined, as that of
        entities is where neither model finds any.
        """
        if name != "loyalty":
            return self.metric(name, logits, data)
        usual, verdicts = self.metric(self.task.usual_metrics[0], logits, data), self.verdicts(logits, data)
        same = verdicts if verdicts.dtype == bool else verdicts == 0
        return lambda rows: 1.0 if same[rows].all() else usual(rows)

    def score(self, name: MetricName, logits: Array, data: Encoded) -> float:
        """A metric of all rows."""
        return self.statistic(name, logits, data)(np.arange(data.table.num_rows))

    @abstractmethod
    def verdicts(self, logits: Array, data: Encoded) -> Array:
        """For each row (N,) whether the model is right, or (as float) how far from right."""

    @abstractmethod
    def agreement(self, before: Array, after: Array, data: Encoded) -> Agreement:
        """How alike two models answer."""

    def closeness(self, before: Array, after: Array, data: Encoded) -> float:
        """How alike two models answer, in one number that is higher for those more alike."""
        agreement = self.agreement(before, after, data)
        return float(np.average(agreement.probability, weights=np.maximum(agreement.weight, 1)))

    def classes(self, logits: Array, data: Encoded) -> list[ClassResult]:
        """Results by class, where there are classes."""
        return []

    def confidence(self, logits: Array, data: Encoded) -> Array:
        """The probability (N,) that a model gives to its answer, the mean over each row."""
        return np.ones(data.table.num_rows)

    @abstractmethod
    def answer(self, logits: Array, data: Encoded, row: int) -> Any:
        """What the model says of a row, as JSON."""

    def contrast(self, before: Array, after: Array, data: Encoded, row: int) -> tuple[str, str, str]:
        """What is right for a row on which two models differ, and what each says, in words."""
        return (
            str(self.truth(data, row)),
            str(self.answer(before, data, row)),
            str(self.answer(after, data, row)),
        )

    def truth(self, data: Encoded, row: int) -> Any:
        """What is right for a row."""
        return None

    def texts(self, data: Encoded, row: int) -> tuple[str, str | None]:
        """A row for a reader: its text, and its second text where there is one."""
        return data.table.column(0)[row].as_py(), None

    def doubt(self, logits: Array, data: Encoded) -> tuple[str, str] | None:
        """Code and message of a warning, where the answers look like those of a model that has learnt nothing."""
        return None


def behaviour_of(task: Task) -> "Behaviour[Any]":
    """The behaviour of a task lives in the folder of its type."""
    folder = task.type.replace("-", "_")
    return cast("Behaviour[Any]", import_module(f"compression.tasks.{folder}.behaviour").BEHAVIOUR(task))
