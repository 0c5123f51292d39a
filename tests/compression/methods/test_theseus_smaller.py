"""Successors that are narrower or factorised."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import load_model
from compression.errors import InputError, Stopped
from compression.events import EventWriter
from compression.methods.shape import ModelShape
from compression.methods.theseus.params import TheseusParams
from compression.run import run
from tests.compression.jobs import TRAINING, make_spec, resumed, run_to_end, stop_after, weights_of

WHOLE = 2 * (4 * 16 * 16 + 2 * 16 * 32)
"""Weights of two layers."""
SMALLER: list[tuple[dict[str, Any], float]] = [
    ({"successor_intermediate_size": 12}, 2 * (4 * 16 * 16 + 2 * 16 * 12)),
    ({"successor_keep_share": 0.4, "initialization": "probe", "probe_steps": 2}, 0.4 * WHOLE),
]


@pytest.mark.parametrize(("settings", "most"), SMALLER)
def test_successors_are_smaller_as_declared_and_survive_an_interruption(
    tmp_path: Path, settings: dict[str, Any], most: float
) -> None:
    step = {"method": "theseus", "successor_layers": 2, **settings, "training": TRAINING}
    spec = make_spec(tmp_path, [step])
    run_to_end(spec, tmp_path / "whole")
    facts = inspect_checkpoint(tmp_path / "whole" / "model")
    declared = spec.plan.steps[0].resulting(ModelShape.of(inspect_checkpoint(spec.model)))
    assert ModelShape.of(facts) == declared
    model = load_model(tmp_path / "whole" / "model", facts, torch.device("cpu"))
    layers = model.get_submodule("bert.encoder.layer")
    weights = sum(m.weight.numel() for m in layers.modules() if isinstance(m, nn.Linear))
    assert weights <= most

    with pytest.raises(Stopped):
        run(spec, tmp_path / "stopped", EventWriter(io.StringIO()), stop_after(24))
    run_to_end(resumed(spec, tmp_path / "stopped"), tmp_path / "resumed")
    assert weights_of(tmp_path / "resumed") == weights_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("steps", "code", "place"),
    [
        ([{"successor_intermediate_size": 32}], "nothing_to_remove", "/steps/0/successor_intermediate_size"),
        ([{"successor_keep_share": 0.5}, {"successor_keep_share": 0.5}], "already_factorised", "/steps/1"),
    ],
)
def test_impossible_successors_are_refused(
    tmp_path: Path, steps: list[dict[str, Any]], code: str, place: str
) -> None:
    with pytest.raises(InputError) as refused:
        make_spec(tmp_path, [{"method": "theseus", **step} for step in steps])
    assert [(p.code, p.place) for p in refused.value.problems] == [(code, place)]
    with pytest.raises(ValidationError, match="leave one of the two settings out"):
        TheseusParams(successor_intermediate_size=4, successor_keep_share=0.5)
