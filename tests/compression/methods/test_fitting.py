"""Least squares before the training."""

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of, states_of
from compression.checkpoints.facts import Architecture
from compression.checkpoints.loading import load_model, open_source, put_form
from compression.checkpoints.traits import architectures_with
from compression.context import Context, TaskData
from compression.data.batches import collate
from compression.methods.copies import Source, copies_of
from compression.methods.fitting import RIDGE, fit_successors
from compression.methods.layer_drop.choice import layers_left
from compression.methods.layer_drop.params import LayerDropParams
from compression.methods.theseus.method import wrap
from compression.methods.theseus.params import TheseusParams
from compression.methods.theseus.smaller import smaller_successors
from compression.training.checkpoint import Checkpoint
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.bare import CPU, context_of, data_of, load
from tests.compression.encoded import classification, of_rows

PLAIN = of_rows(classification(), np.arange(16) % 2, [3, 5, 9, 12] * 4)
ROWS = replace(PLAIN, pieces=PLAIN.pieces + 20)
"""Of pieces that stand for no padding in any architecture."""
BATCH = collate(ROWS, np.arange(16), CPU)
MASK = BATCH.attention_mask
assert MASK is not None
SEEN = MASK == 1
PARTITION = [1, 3]
PLACES: dict[str, dict[str, str | None]] = {
    "bert": {"attention.output.dense": "attention.output.LayerNorm", "output.dense": "output.LayerNorm"},
    "gpt2": {"attn.c_proj": "ln_2", "mlp.c_proj": None},
}
"""The maps of layers that add to the states, and the norms that read the sums; none where the layer puts them out."""


def layers_of(model: PreTrainedModel) -> list[nn.Module]:
    return list(anatomy_of(model).layers_of(model))


def successors_of(model: PreTrainedModel) -> list[nn.Module]:
    """Copies of the first layer and of the last."""
    layers = layers_of(model)
    return anatomy_of(model).fit_to_place(model, [deepcopy(layers[0]), deepcopy(layers[-1])])


@pytest.mark.parametrize(
    ("architecture", "partition", "source"),
    [("bert", [1, 3], 3), ("bert", [2, 2], 3), ("bert", [1, 3], 2), ("gpt2", [1, 3], 3), ("gpt2", [2, 2], 2)],
)
def test_the_changes_are_those_of_least_squares(
    architecture: Architecture, partition: list[int], source: int, tmp_path: Path
) -> None:
    found_at = PLACES[architecture]
    checkpoint = open_source(make_tiny_checkpoint(tmp_path / "source", architecture, layers=4))
    model = load_model(checkpoint.folder, checkpoint.facts, CPU)
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    begin = partition[0] - 1
    first, second = copies_of(model, [Source(begin, begin), Source(source, 3)])
    before = deepcopy(second.state_dict())
    fit_successors(model, [first, second], partition, data_of(ROWS), context_of(checkpoint.folder), None)
    smaller = deepcopy(model)
    anatomy_of(smaller).put_layers(smaller, [first, second])
    after = second.state_dict()
    changed = {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {*found_at}
    last = layers_of(model)[-1]
    given: dict[str, torch.Tensor] = {}
    for linear in found_at:
        catch(second.get_submodule(linear), given, linear, inputs=True)
    (wanted, found) = (catch_sums(layer, found_at) for layer in (last, second))
    for whole in (model, smaller):
        whole(**BATCH.inputs)
    for linear in found_at:
        target = wanted[linear].detach()
        weights = 1 / target.var(dim=1, keepdim=True)
        features = torch.cat([given[linear].detach(), torch.ones(len(target), 1)], dim=1)
        eigenvalues = torch.linalg.eigvalsh(features.T @ (features * weights))
        mean_eigenvalue = eigenvalues.sum() / min(features.shape)
        loss = (weights * (found[linear] - target).square()).sum()
        dense: Any = second.get_submodule(linear)
        gradients = torch.autograd.grad(loss, [dense.weight, dense.bias], retain_graph=True)
        for gradient, name in zip(gradients, ("weight", "bias"), strict=True):
            change = after[f"{linear}.{name}"] - before[f"{linear}.{name}"]
            pulled = 2 * RIDGE * mean_eigenvalue * change
            assert float(pulled.norm()) > 0.01
            torch.testing.assert_close(gradient, -pulled, rtol=1e-3, atol=1e-3 * float(pulled.abs().max()))


def catch_sums(layer: nn.Module, found_at: dict[str, str | None]) -> dict[str, torch.Tensor]:
    sums: dict[str, torch.Tensor] = {}
    for linear, norm in found_at.items():
        catch(layer.get_submodule(norm) if norm else layer, sums, linear, inputs=norm is not None)
    return sums


def catch(module: nn.Module, caught: dict[str, torch.Tensor], name: str, *, inputs: bool) -> None:
    """At the pieces that are seen."""

    def keep(_: nn.Module, given: Any, put_out: Any) -> None:
        caught[name] = (given[0] if inputs else states_of(put_out))[SEEN]

    module.register_forward_hook(keep)


@pytest.mark.parametrize("architecture", architectures_with("own_layers"))
def test_successors_come_nearer_to_the_model_in_every_architecture(
    architecture: Architecture, tmp_path: Path
) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "source", architecture, layers=4))
    model = load_model(source.folder, source.facts, CPU)
    context, before = context_of(source.folder), deepcopy(model.state_dict())
    successors = successors_of(model)
    found = [difference(model, successors)]
    fit_successors(model, successors, PARTITION, data_of(ROWS), context, "a method")
    found.append(difference(model, successors))
    assert found[1] < 0.8 * found[0]
    (note,) = context.notes
    assert re.fullmatch(r"a method: least squares left \d+% and \d+% of .*", note)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@torch.no_grad()
def difference(model: PreTrainedModel, successors: list[nn.Module]) -> float:
    """Mean squared, of the logits of a model and those with its successors."""
    smaller = deepcopy(model)
    anatomy_of(smaller).put_layers(smaller, deepcopy(successors))
    inputs = BATCH.inputs
    return float((model(**inputs).logits - smaller(**inputs).logits).square().mean())


@pytest.mark.parametrize(
    "smaller", [{}, {"successor_intermediate_size": 12}, {"successor_keep_share": 0.5}], ids=str
)
def test_successors_that_are_smaller_are_fitted_as_they_are(smaller: dict[str, Any], tmp_path: Path) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "source", layers=4))
    context, data = context_of(source.folder), data_of(ROWS)
    params = TheseusParams(modules=PARTITION, **smaller)
    losses = []
    for fitted in (False, True):
        model = load_model(source.folder, source.facts, CPU)
        modules = wrap(
            model,
            "module_last",
            params,
            torch.float32,
            preparation(model, data, params, context, fitted=fitted),
        )
        whole = load_model(source.folder, source.facts, CPU)
        losses.append(difference(whole, [module.successor for module in modules]))
    assert losses[1] < 0.8 * losses[0]


def test_successors_with_fewer_neurons_have_those_that_matter_in_the_last_layer(tmp_path: Path) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "source", layers=4))
    context, data = context_of(source.folder), data_of(ROWS)
    params = TheseusParams(modules=PARTITION, fitted=True, successor_intermediate_size=12)
    model = load_model(source.folder, source.facts, CPU)
    inner, outer = anatomy_of(model).feed_forward_of(layers_of(model)[3])
    with torch.no_grad():
        outer.weight[:, :20] = 0
    living = inner.weight[20:].detach().clone()
    prepare = preparation(model, data, params, context, fitted=True)
    successor = wrap(model, "module_first", params, torch.float32, prepare)[1].successor
    found, _ = anatomy_of(model).feed_forward_of(successor)
    assert torch.equal(found.weight, living)


def preparation(
    model: PreTrainedModel, data: TaskData, params: TheseusParams, context: Context, *, fitted: bool
) -> Callable[..., None]:
    lessen = smaller_successors(model, data, params, context)

    def prepare(sources: Any, successors: Any) -> None:
        if lessen is not None:
            lessen("module_last", sources, successors)
        if fitted:
            fit_successors(model, successors, PARTITION, data, context, None)

    return prepare


def test_a_layer_that_stays_is_fitted_to_those_that_went_from_above_it(tmp_path: Path) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "source", layers=5))
    model, context = load_model(source.folder, source.facts, CPU), context_of(source.folder)
    params = LayerDropParams(keep_layers=2, fitted=True)
    left = layers_left(model, [1, 3], data_of(ROWS), params, context)
    expected = copies_of(model, [Source(1, 2), Source(3, 4)])
    fit_successors(model, expected, [3, 2], data_of(ROWS), context, None)
    for layer, wanted in zip(left, expected, strict=True):
        found = layer.state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in wanted.state_dict().items())


def test_a_layer_that_becomes_the_first_is_fitted_as_it_will_stand_there(tmp_path: Path) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "source", "modernbert", layers=4))
    model, context = load_model(source.folder, source.facts, CPU), context_of(source.folder)
    losses = []
    for fitted in (False, True):
        params = LayerDropParams(keep_layers=2, fitted=fitted)
        left = layers_left(model, [1, 3], data_of(ROWS), params, context)
        assert isinstance(left[0].get_submodule("attn_norm"), nn.Identity) is fitted
        losses.append(difference(model, left))
    assert losses[1] < 0.8 * losses[0]


def test_zeros_of_a_pruned_model_stay(tmp_path: Path) -> None:
    model = load(tmp_path / "source", layers=4, seed=0).eval()
    put_form(model, packed=True)
    successors, context = successors_of(model), context_of(tmp_path / "source")
    before = deepcopy(successors[1].state_dict())
    fit_successors(model, successors, PARTITION, data_of(ROWS), context, "a method")
    assert all(torch.equal(before[name], tensor) for name, tensor in successors[1].state_dict().items())
    assert context.notes == ["a method: nothing is fitted, as the zeros of the pruned model stay"]


@pytest.mark.parametrize(("step", "fitted"), [(0, True), (3, False)])
def test_after_an_interruption_in_the_training_nothing_is_fitted_again(
    step: int, fitted: bool, tmp_path: Path
) -> None:
    model = load(tmp_path / "source", layers=4, seed=0).eval()
    successors, context = successors_of(model), context_of(tmp_path / "source")
    context.resumed = Checkpoint(0, step, {}, {})
    before = deepcopy(successors[1].state_dict())
    fit_successors(model, successors, PARTITION, data_of(ROWS), context, "a method")
    changed = any(
        not torch.equal(before[name], tensor) for name, tensor in successors[1].state_dict().items()
    )
    assert changed is fitted
