"""What every registered method promises, on tiny random models."""

import io
import json
import math
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from compression.checkpoints.facts import Architecture
from compression.checkpoints.inspection import inspect_checkpoint
from compression.errors import Stopped
from compression.events import EventWriter, parse_event
from compression.methods.shape import ModelShape
from compression.registry import METHODS
from compression.run import run
from compression.training.checkpoint import read_checkpoint
from tests.compression.jobs import (
    METHOD_SETTINGS,
    TRAINING,
    make_spec,
    resumed,
    run_to_end,
    stop_after,
    weights_of,
)

ARCHITECTURES: tuple[Architecture, ...] = ("bert", "roberta", "distilbert")
"""The others: tests/compression/test_architectures.py."""
EVERY_METHOD = pytest.mark.parametrize("method", sorted(METHODS))
TRAINED = {
    method: field
    for method, settings in sorted(METHOD_SETTINGS.items())
    for field, value in settings.items()
    if value is TRAINING
}
"""The field that holds the training of each method that trains."""
EVERY_TRAINED_METHOD = pytest.mark.parametrize("method", TRAINED)


def step(method: str) -> dict[str, Any]:
    return {"method": method, **METHOD_SETTINGS[method]}


def learning(method: str) -> dict[str, Any]:
    """As `step`, without the file of 8 bits: it takes seconds to be written, and what is learnt is not in it."""
    return step(method) | ({"scheme": "group-wise"} if method == "quantize" else {})


def load_as_a_user(folder: Path, *, plain: bool) -> Any:
    """As the model card says; transformers must not load what it would misread."""
    if plain:
        return AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        AutoModelForSequenceClassification.from_pretrained(folder)
    return runpy.run_path(str(folder / "plankwright_model.py"))["load"](folder)


def test_every_method_has_settings_here() -> None:
    assert set(METHOD_SETTINGS) == set(METHODS)


@pytest.mark.parametrize(
    ("architecture", "method"),
    [(a, method) for a in ARCHITECTURES for method in sorted(METHODS) if a in METHODS[method].ARCHITECTURES],
)
def test_result_is_smaller_as_declared_and_reloads_with_the_same_logits(
    tmp_path: Path, method: str, architecture: Architecture
) -> None:
    spec = make_spec(tmp_path, [step(method)], architecture=architecture)
    report = run_to_end(spec, tmp_path / "out")

    declared = spec.plan.steps[0].resulting(ModelShape.of(inspect_checkpoint(spec.model)))
    assert ModelShape.of(inspect_checkpoint(tmp_path / "out" / "model")) == declared
    before, after = report.before, report.after
    assert after.bytes < before.bytes or after.nonzero_parameters < before.nonzero_parameters
    if method in TRAINED:
        assert all(math.isfinite(point.value) for point in report.curves["loss"])

    model = load_as_a_user(tmp_path / "out" / "model", plain=not (declared.low_rank or declared.packed))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out" / "model")
    lines = (tmp_path / "out" / "artifacts" / "predictions.jsonl").read_text("utf-8").splitlines()
    for row in map(json.loads, lines):
        with torch.inference_mode():
            logits = model(**tokenizer(row["text"], return_tensors="pt")).logits[0]
        np.testing.assert_allclose(logits.numpy(), row["files"].get("model.tar", row["after"]), atol=1e-5)


@EVERY_TRAINED_METHOD
def test_same_seed_same_weights_other_seed_other_weights(tmp_path: Path, method: str) -> None:
    results = []
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        spec = make_spec(tmp_path / name, [learning(method)], seed=seed)
        run_to_end(spec, tmp_path / name / "out")
        results.append(weights_of(tmp_path / name / "out"))
    assert results[0] == results[1]
    assert results[0] != results[2]


@EVERY_TRAINED_METHOD
def test_training_changes_the_result(tmp_path: Path, method: str) -> None:
    """Guards the other tests: equal weights would prove nothing if training did nothing."""
    barely = learning(method) | {TRAINED[method]: TRAINING | {"learning_rate": 1e-12}}
    results = []
    for name, settings in (("trained", learning(method)), ("barely", barely)):
        (tmp_path / name).mkdir()
        run_to_end(make_spec(tmp_path / name, [settings]), tmp_path / name / "out")
        results.append(weights_of(tmp_path / name / "out"))
    assert results[0] != results[1]


@EVERY_TRAINED_METHOD
def test_stops_within_one_step_and_leaves_a_checkpoint(tmp_path: Path, method: str) -> None:
    spec = make_spec(tmp_path, [step(method)])
    events = io.StringIO()
    with pytest.raises(Stopped):
        run(spec, tmp_path / "out", EventWriter(events), lambda: '"learning_rate"' in events.getvalue())
    *before, last = map(parse_event, events.getvalue().splitlines())
    assert last.type == "checkpoint"
    file = tmp_path / "out" / "checkpoints" / last.file
    assert file.stat().st_size == last.bytes
    told = (event for event in before if event.type == "metric" and "learning_rate" in event.values)
    wished_at = next(told).step
    assert wished_at <= read_checkpoint(file).step <= wished_at + 1


@EVERY_METHOD
def test_interrupted_anywhere_equals_uninterrupted(tmp_path: Path, method: str) -> None:
    """Bit for bit, wherever the wish to stop comes: in training, in validation, twice, between two steps."""
    other: dict[str, Any] = {"method": "layer_drop", "keep_layers": 1, "recovery": {"max_steps": 3}}
    if method == "share":
        other = {"method": "prune", "training": {"max_steps": 3}}
    steps = [other, learning(method)] if method == "quantize" else [step(method), other]
    spec = make_spec(tmp_path, steps)
    run_to_end(spec, tmp_path / "whole")

    interruptions = 0
    for checks in range(2, 32, 6):
        out, attempt = tmp_path / f"stopped-{checks}", spec
        for number in range(20):
            try:
                run(attempt, out / str(number), EventWriter(io.StringIO()), stop_after(checks + 4 * number))
                break
            except Stopped:
                interruptions += 1
            if list((out / str(number) / "checkpoints").glob("*.safetensors")):
                attempt = resumed(spec, out / str(number))
        assert weights_of(out / str(number)) == weights_of(tmp_path / "whole"), (
            f"stopped every {checks} checks"
        )
    assert interruptions > 5


def test_an_interruption_changes_nothing_in_the_8_bit_file(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, [step("quantize")], layers=1)
    run_to_end(spec, tmp_path / "whole")
    events = io.StringIO()
    with pytest.raises(Stopped):
        run(spec, tmp_path / "first", EventWriter(events), lambda: '"loss"' in events.getvalue())
    run_to_end(resumed(spec, tmp_path / "first"), tmp_path / "second")
    whole, second = (tmp_path / name / "artifacts" / "model.int8.onnx" for name in ("whole", "second"))
    assert whole.read_bytes() == second.read_bytes()
