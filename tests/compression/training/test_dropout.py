"""The faster dropout and attention beside torch's own."""

import pytest
import torch
from torch.nn import functional

from compression.training.dropout import attention, drop


def test_share_and_expectation() -> None:
    torch.manual_seed(0)
    dropped = drop(torch.ones(1000, 1003), 0.1)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.1, abs=0.003)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.002)


def test_every_position_is_equally_likely() -> None:
    """A generator that leaves out the sign bit would favour each eighth element."""
    torch.manual_seed(0)
    kept = torch.stack([drop(torch.ones(64), 0.5) != 0 for _ in range(4000)]).float().mean(0)
    assert kept.min().item() > 0.45
    assert kept.max().item() < 0.55


def test_gradient_goes_where_values_went() -> None:
    values = torch.ones(100, requires_grad=True)
    dropped = drop(values, 0.3)
    torch.autograd.backward(dropped.sum())
    assert torch.equal(values.grad, dropped.detach())  # type: ignore[arg-type]


def test_no_dropout_changes_nothing() -> None:
    values = torch.randn(10)
    assert drop(values, 0.0) is values


def test_attention_is_scaled_dot_product_attention() -> None:
    query, key, value = torch.randn(3, 2, 4, 7, 8)
    mask = torch.zeros(2, 1, 7, 7)
    mask[1, :, :, 5:] = torch.finfo(torch.float32).min
    ours, _ = attention(torch.nn.Module(), query, key, value, mask, scaling=8**-0.5)
    theirs = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(ours, theirs.transpose(1, 2))
