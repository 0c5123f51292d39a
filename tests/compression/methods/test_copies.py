"""What the layers are made of that a shallower model starts from."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.facts import Architecture
from compression.checkpoints.loading import load_model, open_source, put_form
from compression.checkpoints.traits import architectures_with
from compression.methods.copies import Source, copies_of, sources_of
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.bare import CPU

OF_THE_LAST = {
    "bert": {"intermediate.dense", "output.dense", "attention.output.LayerNorm", "output.LayerNorm"},
    "deberta-v2": {"intermediate.dense", "output.dense", "attention.output.LayerNorm", "output.LayerNorm"},
    "distilbert": {"ffn.lin1", "ffn.lin2", "sa_layer_norm", "output_layer_norm"},
    "gpt2": {"mlp.c_fc", "mlp.c_proj", "ln_2"},
    "modernbert": {"mlp.Wi", "mlp.Wo", "mlp_norm"},
}


def model_of(architecture: Architecture, folder: Path) -> PreTrainedModel:
    """Four layers; no two of them have an equal weight."""
    source = open_source(make_tiny_checkpoint(folder / "source", architecture, layers=4))
    model = load_model(source.folder, source.facts, CPU)
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter.data)
    return model


@pytest.mark.parametrize("architecture", OF_THE_LAST)
def test_a_copy_attends_as_one_layer_and_has_all_behind_that_of_another(
    architecture: Architecture, tmp_path: Path
) -> None:
    model = model_of(architecture, tmp_path)
    layers = list(anatomy_of(model).layers_of(model))
    copy = copies_of(model, [Source(0, 0), Source(1, 3)])[1]
    one, other = (dict(layers[index].named_parameters()) for index in (1, 3))
    found = {
        name.rpartition(".")[0]
        for name, parameter in copy.named_parameters()
        if torch.equal(parameter, other[name])
    }
    assert found == OF_THE_LAST[architecture]
    others = {
        name
        for name, parameter in copy.named_parameters()
        if name.rpartition(".")[0] not in found and not torch.equal(parameter, one[name])
    }
    assert not others
    assert not {id(parameter) for parameter in copy.parameters()} & {id(p) for p in model.parameters()}


@pytest.mark.parametrize("architecture", architectures_with("own_layers"))
def test_copies_of_whole_layers_are_these_layers(architecture: Architecture, tmp_path: Path) -> None:
    model = model_of(architecture, tmp_path)
    layers = list(anatomy_of(model).layers_of(model))
    _, copy = copies_of(model, [Source(0, 0), Source(2, 2)])
    found = copy.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in layers[2].state_dict().items())


def test_what_is_fitted_has_the_neurons_of_the_last_layer_of_its_part(tmp_path: Path) -> None:
    model = model_of("bert", tmp_path)
    assert sources_of(model, [0, 1], [1, 3], fitted=True) == [(0, 0), (1, 3)]
    assert sources_of(model, [0, 1], [1, 3], fitted=False) == [(0, 0), (1, 1)]
    put_form(model, packed=True)
    assert sources_of(model, [0, 1], [1, 3], fitted=True) == [(0, 0), (1, 1)]
