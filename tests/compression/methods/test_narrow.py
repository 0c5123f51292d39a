"""Which neurons go, and how what is left makes up for them, on tiny random models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from compression.checkpoints.facts import Architecture
from compression.errors import InputError
from compression.methods.narrow.params import NarrowParams
from tests.compression.jobs import TRAINING, make_spec, predictions_of, run_to_end

NAMES = {
    "bert": ("intermediate.dense", ".output.dense"),
    "roberta": ("intermediate.dense", ".output.dense"),
    "distilbert": ("ffn.lin1", "ffn.lin2"),
}


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_neurons_that_do_nothing_go_first_and_nothing_changes(
    tmp_path: Path, architecture: Architecture
) -> None:
    step = {"method": "narrow", "intermediate_size": 20, "rows": 32, "recovery": None}
    spec = make_spec(tmp_path, [step], architecture=architecture, layers=2)
    file = spec.model / "model.safetensors"
    weights = load_file(file)
    idle = [0, 3, 4, 8, 9, 13, 17, 21, 22, 27, 30, 31]
    for name, tensor in weights.items():
        if "layer.0." in name and NAMES[architecture][0] in name:
            tensor[idle] = 0
        if (
            "layer.1." in name
            and name.endswith(NAMES[architecture][1] + ".weight")
            and "attention" not in name
        ):
            tensor[:, idle] = 0
    save_file(weights, file, metadata={"format": "pt"})
    report = run_to_end(spec, tmp_path / "out")
    assert report.loyalty.probability.value == pytest.approx(1.0, abs=1e-4)

    result = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "model")
    sizes = {m.out_features for m in result.modules() if isinstance(m, torch.nn.Linear)}
    assert 20 in sizes
    assert 32 not in sizes


def test_more_rounds_choose_otherwise_than_one(tmp_path: Path) -> None:
    results = []
    for rounds in (1, 8):
        (tmp_path / str(rounds)).mkdir()
        step = {"method": "narrow", "intermediate_size": 4, "rounds": rounds, "rows": 48, "recovery": None}
        run_to_end(make_spec(tmp_path / str(rounds), [step]), tmp_path / str(rounds) / "out")
        results.append((tmp_path / str(rounds) / "out" / "model" / "model.safetensors").read_bytes())
    assert results[0] != results[1]


@pytest.mark.parametrize(
    "size",
    [{"intermediate_size": 8}, {"intermediate_size": 32, "attention_heads": 2}],
    ids=["neurons", "heads"],
)
def test_what_is_fitted_answers_more_like_the_original(tmp_path: Path, size: dict[str, Any]) -> None:
    """By default; the report tells how much is left."""
    differences, told = [], []
    for name, settings in (("not fitted", {"fitted": False}), ("by default", {})):
        (tmp_path / name).mkdir()
        step = {"method": "narrow", **size, "rounds": 4, "rows": 48, "recovery": None, **settings}
        spec = make_spec(tmp_path / name, [step], config={"num_attention_heads": 4})
        report = run_to_end(spec, tmp_path / name / "out")
        rows = predictions_of(tmp_path / name / "out")
        before, after = (np.array([row[side] for row in rows]) for side in ("before", "after"))
        differences.append(np.square(before - after).mean())
        told.append(any(note.startswith("narrow: least squares left") for note in report.notes))
    assert differences[1] < 0.5 * differences[0]
    assert told == [False, True]


@pytest.mark.parametrize(
    ("architecture", "first", "why"),
    [
        (
            "bert",
            [{"method": "prune", "training": TRAINING | {"max_steps": 3}}],
            "the zeros of the pruned model stay",
        ),
        ("albert", [], "its layers share their weights"),
    ],
)
def test_where_nothing_can_be_fitted_the_report_tells_why(
    tmp_path: Path, architecture: Architecture, first: list[dict[str, Any]], why: str
) -> None:
    step = {"method": "narrow", "rows": 16, "recovery": None}
    report = run_to_end(make_spec(tmp_path, [*first, step], architecture=architecture), tmp_path / "out")
    assert [note for note in report.notes if "fitted" in note] == [f"narrow: nothing is fitted, as {why}"]


@pytest.mark.parametrize(
    ("asked", "width", "kept"), [(None, 1536, 768), (None, 32, 16), (None, 40, 24), (10, 32, 10)]
)
def test_width(asked: int | None, width: int, kept: int) -> None:
    assert NarrowParams(intermediate_size=asked).kept(width) == kept


def test_a_wider_result_is_refused() -> None:
    with pytest.raises(InputError, match="keep fewer"):
        NarrowParams(intermediate_size=32).kept(32)
