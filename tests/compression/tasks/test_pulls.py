"""What answers and embeddings cost that are not the teacher's, beside the formula written out window by window."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from compression.data.batches import Batch
from compression.tasks.question_answering.behaviour import QuestionAnswering
from compression.tasks.question_answering.resolution import QuestionAnsweringTask, QuestionColumns
from compression.tasks.sentence_similarity.behaviour import SentenceSimilarity

TASK = QuestionAnsweringTask(
    columns=QuestionColumns(question="q", context="c", answers="a", answer_starts="s"),
    doc_stride=5,
    max_question_length=3,
    may_be_unanswered=True,
    max_length=16,
)
MARKED = [[1, 0, 0, 1, 1, 1, 0], [1, 0, 1, 1, 0, 0, 0]]
"""The first piece of each window and those of its context: the question and what is padded are no places."""
WINDOWS = slice(0, 4), slice(4, 7)
DRAW = np.random.default_rng(3)
STUDENT, TEACHER = DRAW.normal(size=(2, 7, 2)) * 3
RIGHT = (2, 3), (4, 6)
"""Of all seven places, those where the answer of each window starts and ends."""


def batch() -> Batch:
    labels = np.zeros((7, 2), dtype=np.float32)
    for start, end in RIGHT:
        labels[start, 0] = labels[end, 1] = 1
    marked = torch.tensor(MARKED, dtype=torch.bool)
    pieces = torch.ones(2, 7, dtype=torch.int64)
    rows, outputs = np.arange(2), np.arange(7)
    return Batch(TASK, pieces, None, pieces, torch.from_numpy(labels), rows, outputs, marked)


def pull(student: Any, teacher: Any, temperature: float) -> float:
    said, right = (torch.tensor(logits, dtype=torch.float32) for logits in (student, teacher))
    return float(QuestionAnswering(TASK).pull(said, right, batch(), temperature))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_an_answer_is_pulled_by_where_it_starts_and_where_it_ends(temperature: float) -> None:
    terms = []
    for window in WINDOWS:
        for side in (0, 1):
            said, right = (log_softmax(x[window, side] / temperature) for x in (STUDENT, TEACHER))
            terms.append(temperature**2 * np.sum(np.exp(right) * (right - said)))
    assert min(terms) > 0
    assert pull(STUDENT, TEACHER, temperature) == pytest.approx(np.mean(terms), rel=1e-5)
    assert pull(TEACHER, TEACHER, temperature) == pytest.approx(0, abs=1e-6)
    assert pull(TEACHER + 5, TEACHER, temperature) == pytest.approx(0, abs=1e-5)


def test_an_answer_costs_what_its_two_places_are_thought_unlikely() -> None:
    terms = []
    for window, places in zip(WINDOWS, RIGHT, strict=True):
        for side, place in enumerate(places):
            terms.append(-log_softmax(STUDENT[window, side])[place - window.start])
    logits = torch.tensor(STUDENT, dtype=torch.float32)
    assert float(QuestionAnswering(TASK).loss(logits, batch())) == pytest.approx(np.mean(terms), rel=1e-5)


def test_embeddings_are_pulled_by_their_directions() -> None:
    cosines = [s @ t / np.sqrt(s @ s * (t @ t)) for s, t in zip(STUDENT, TEACHER, strict=True)]
    task: Any = None  # the pull knows no more than the vectors
    student, teacher = (torch.tensor(vectors) for vectors in (STUDENT, TEACHER))
    found = SentenceSimilarity(task).pull(student, teacher, batch(), 2.0)
    assert float(found) == pytest.approx(1 - np.mean(cosines), rel=1e-5)
