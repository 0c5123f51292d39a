"""Losses beside the formula written out."""

import math

import pytest
import torch

from compression.losses import attention_loss, cosine_loss, masked_mse, patient_loss, soft_target_loss


def naive(student: list[float], teacher: list[float], temperature: float) -> float:
    def softmax(logits: list[float]) -> list[float]:
        powers = [math.exp(logit / temperature) for logit in logits]
        return [power / sum(powers) for power in powers]

    pairs = zip(softmax(teacher), softmax(student), strict=True)
    return temperature**2 * sum(t * math.log(t / s) for t, s in pairs)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 8.0])
def test_soft_targets(temperature: float) -> None:
    student, teacher = [[1.0, -2.0, 0.5], [0.0, 0.0, 3.0]], [[0.3, 0.2, -1.0], [2.0, 0.0, 1.0]]
    expected = sum(naive(s, t, temperature) for s, t in zip(student, teacher, strict=True)) / 2
    assert soft_target_loss(
        torch.tensor(student), torch.tensor(teacher), temperature
    ).item() == pytest.approx(expected, rel=1e-5)


def test_equal_logits_cost_nothing() -> None:
    logits = torch.randn(4, 5)
    assert soft_target_loss(logits, logits, 2.0).item() == pytest.approx(0, abs=1e-6)


def test_a_regression_is_pulled_by_its_difference() -> None:
    assert soft_target_loss(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [3.0]]), 2.0).item() == 0.5


MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])
REAL = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]


def states(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(seed))


def test_masked_mse_is_over_what_is_shown() -> None:
    student, teacher = states(0), states(1)
    expected = sum(
        (student[b, i, h] - teacher[b, i, h]).item() ** 2 for b, i in REAL for h in range(4)
    ) / (5 * 4)  # fmt: skip
    assert masked_mse(student, teacher, MASK).item() == pytest.approx(expected, rel=1e-5)
    everything = (student - teacher).square().mean().item()
    assert masked_mse(student, teacher, None).item() == pytest.approx(everything, rel=1e-5)


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.hypot(*a) / math.hypot(*b)


def test_cosine_loss_is_over_what_is_shown() -> None:
    student, teacher = states(0), states(1)
    cosines = [cosine(student[b, i].tolist(), teacher[b, i].tolist()) for b, i in REAL]
    assert cosine_loss(student, teacher, MASK).item() == pytest.approx(1 - sum(cosines) / 5, rel=1e-5)


def test_patient_loss_compares_directions() -> None:
    student, teacher = states(0), states(1)
    # ||a / ||a|| - b / ||b|| ||^2 = 2 - 2 cos
    terms = [
        2 - 2 * cosine(student[b, i].tolist(), teacher[b, i].tolist()) for b in range(2) for i in range(3)
    ]
    assert patient_loss(student, teacher).item() == pytest.approx(sum(terms) / 6, rel=1e-5)
    assert patient_loss(student, student * 3).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("heads", [2, 1])
def test_attention_loss_is_over_pairs_that_are_shown(heads: int) -> None:
    draw = torch.Generator().manual_seed(2)
    student, teacher = torch.randn(2, 2, 3, 3, generator=draw), torch.randn(2, heads, 3, 3, generator=draw)
    pairs = [(0, i, j) for i in range(2) for j in range(2)] + [(1, i, j) for i in range(3) for j in range(3)]
    if heads == 2:
        squares = [
            (student[b, h, i, j] - teacher[b, h, i, j]).item() ** 2 for b, i, j in pairs for h in range(2)
        ]
    else:
        squares = [(student[b, :, i, j].mean() - teacher[b, 0, i, j]).item() ** 2 for b, i, j in pairs]
    expected = sum(squares) / len(squares)
    assert attention_loss(student, teacher, MASK).item() == pytest.approx(expected, rel=1e-5)
    assert attention_loss(student, student, None).item() == 0
