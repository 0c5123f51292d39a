"""Linear maps by oneDNN: the same results, and nothing of it left behind."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from compression.evaluation.maps import maps_by_onednn


class Doubled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def model() -> nn.Sequential:
    torch.manual_seed(0)
    parts = {"wide": nn.Linear(24, 96), "narrow": nn.Linear(96, 24, bias=False), "own": Doubled(24, 3)}
    return nn.Sequential(OrderedDict(parts))


def products_of(run: nn.Sequential, x: torch.Tensor) -> tuple[torch.Tensor, list[str]]:
    """What the model gives, and the matrix products that it was computed with."""
    with torch.inference_mode(), torch.profiler.profile() as profile:
        result = run(x)
    products = ("aten::addmm", "aten::mm", "mkldnn::_linear_pointwise")
    return result, [event.name for event in profile.events() if event.name in products]


@pytest.mark.parametrize("shape", [(5, 7, 24), (1, 24)])
def test_plain_maps_go_through_onednn_and_give_the_same(shape: tuple[int, ...]) -> None:
    run, x = model(), torch.randn(shape)
    expected, usual = products_of(run, x)
    with maps_by_onednn(run):
        found, products = products_of(run, x)
    assert products[:2] == ["mkldnn::_linear_pointwise"] * 2
    assert products[2:] == usual[2:], "a map with a forward of its own keeps it"
    torch.testing.assert_close(found, expected)


def test_rows_that_do_not_lie_in_order_are_mapped_too() -> None:
    run, x = model(), torch.randn(24, 9).t()
    with torch.inference_mode():
        expected = run(x)
        with maps_by_onednn(run):
            torch.testing.assert_close(run(x), expected)


def test_afterwards_the_model_is_as_it_was_even_after_an_error() -> None:
    run = model()
    with pytest.raises(KeyError), maps_by_onednn(run):
        raise KeyError
    assert not any("forward" in vars(module) for module in run.modules())
    run(torch.randn(2, 24)).sum().backward()
    assert all(parameter.grad is not None for parameter in run.parameters())


def test_short_types_and_maps_that_are_replaced_already_are_left_alone() -> None:
    run = model().to(torch.bfloat16)
    with maps_by_onednn(run):
        assert not any("forward" in vars(module) for module in run.modules())
    run = model()
    run[0].forward = torch.nn.Identity().forward
    with maps_by_onednn(run):
        assert run[0](torch.ones(1, 24)).shape == (1, 24)
    assert "forward" in vars(run[0])
