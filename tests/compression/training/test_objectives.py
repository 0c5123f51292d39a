"""What a training with a pull towards the original minimises, beside the formula written out."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from compression.data.batches import collate
from compression.tasks.text_classification.behaviour import TextClassification
from compression.training.objectives import TaskObjective
from compression.training.params import Distillation
from tests.compression.encoded import classification, of_rows

STUDENT = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
TEACHER = torch.tensor([[0.3, 0.2], [2.0, -1.0]])


def binary_divergence(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """KL(p || q) of probabilities of one yes or no each."""
    return teacher * (teacher / student).log() + (1 - teacher) * ((1 - teacher) / (1 - student)).log()


def objective(**settings: Any) -> TaskObjective:
    model: Any = lambda **_: SimpleNamespace(logits=STUDENT)  # noqa: E731
    return TaskObjective(model, Distillation.model_validate(settings), lambda batch: TEACHER)


def test_the_weight_is_the_share_of_the_pull_and_the_rest_is_the_tasks() -> None:
    rows = of_rows(classification(), np.array([1, 0]))
    batch = collate(rows, np.array([0, 1]), torch.device("cpu"))
    task = -(STUDENT.softmax(1)[0, 1].log() + STUDENT.softmax(1)[1, 0].log()) / 2
    teacher, student = ((logits / 4).softmax(1)[:, 1] for logits in (TEACHER, STUDENT))
    pull = 16 * binary_divergence(teacher, student).mean()
    found = objective(weight=0.2, temperature=4.0).loss(batch)
    assert float(found) == pytest.approx(float(0.8 * task + 0.2 * pull), rel=1e-5)


def test_of_several_labels_each_is_a_choice_of_its_own() -> None:
    task = classification().model_copy(update={"problem_type": "multi_label"})
    batch = collate(of_rows(task, np.zeros((2, 2), np.float32)), np.array([0, 1]), torch.device("cpu"))
    found = TextClassification(task).pull(STUDENT, TEACHER, batch, 2.0)
    expected = 4 * binary_divergence((TEACHER / 2).sigmoid(), (STUDENT / 2).sigmoid()).mean()
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
