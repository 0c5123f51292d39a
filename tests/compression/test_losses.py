"""Losses beside the formula written out."""

import math

import pytest
import torch

from compression.losses import soft_target_loss


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
