"""Weights are read once for as long as they stay as they are, and again after every kind of change."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import load_model
from compression.evaluation.known import _weights_digest
from compression.training.precision import MixedPrecision
from tests.checkpoints import make_tiny_checkpoint


@pytest.fixture
def model(tmp_path: Path) -> PreTrainedModel:
    folder = make_tiny_checkpoint(tmp_path)
    return load_model(folder, inspect_checkpoint(folder), torch.device("cpu"))


def change_in_place(model: PreTrainedModel) -> None:
    with torch.no_grad():
        next(model.parameters()).mul_(2)


def load_others(model: PreTrainedModel) -> None:
    model.load_state_dict({name: tensor + 1 for name, tensor in model.state_dict().items()})


def put_another(model: PreTrainedModel) -> None:
    model.get_submodule("classifier").weight = torch.nn.Parameter(torch.ones(2, 16))


CHANGES = [change_in_place, load_others, put_another]


@pytest.mark.parametrize("change", CHANGES)
def test_weights_that_have_changed_are_read_again(
    model: PreTrainedModel, change: Callable[[PreTrainedModel], None]
) -> None:
    before = _weights_digest(model)
    assert _weights_digest(model) is before, "not read again"
    change(model)
    assert _weights_digest(model) != before


def test_weights_in_training_are_read_each_time(model: PreTrainedModel) -> None:
    """They are parts of one vector, and change with it."""
    weights = MixedPrecision(model, model.parameters(), torch.float32, 0.0)
    before = _weights_digest(model)
    weights.put_weights(weights.weights() * 2)
    assert _weights_digest(model) != before
    weights.release()
    change_in_place(model)
    assert _weights_digest(model) != before


def test_equal_weights_have_one_digest_and_others_another(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        folder = make_tiny_checkpoint(tmp_path / name, seed=seed)
        digests.append(_weights_digest(load_model(folder, inspect_checkpoint(folder), torch.device("cpu"))))
    assert digests[0] == digests[1] != digests[2]
