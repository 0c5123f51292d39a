"""Layers chosen by what they contribute and by trying."""

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from compression.checkpoints.facts import Architecture
from compression.checkpoints.loading import load_model, open_source
from compression.context import Context, TaskData
from compression.errors import InputError, Stopped
from compression.events import EventWriter, parse_event
from compression.methods.layer_drop.choice import layer_similarities, least_similar
from compression.methods.layer_drop.params import RULES
from compression.run import run
from compression.tasks.text_classification.behaviour import TextClassification
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.encoded import classification
from tests.compression.jobs import TRAINING, make_spec, resumed, run_to_end, stop_after, weights_of

CPU = torch.device("cpu")
SIMILARITIES = [0.5, 0.97, 0.8, 0.99, 0.92, 0.6]


@pytest.mark.parametrize(
    ("keep", "threshold", "kept"),
    [
        (3, None, [0, 2, 5]),
        (3, 0.95, [0, 2, 4, 5]),
        (5, 0.5, [0, 1, 2, 4, 5]),
        (1, 0.999, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_the_most_similar_layers_go(keep: int, threshold: float | None, kept: list[int]) -> None:
    assert least_similar(SIMILARITIES, keep, threshold) == kept


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_similarity_is_the_mean_cosine_over_the_real_word_pieces(
    tmp_path: Path, architecture: Architecture
) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "m", architecture, layers=3))
    model = load_model(source.folder, source.facts, CPU)
    texts = ["the movie was good", "a film", "very very boring story that"]
    task = classification(max_length=32)
    table = pa.table({"text": texts, "label": ["negative", "positive", "negative"]})
    rows = TextClassification(task).encode(source.tokenizer, table)
    context = Context(
        source=source, device=CPU, dtype=torch.float32, seed=7, emit=EventWriter(io.StringIO()),
        stop_requested=lambda: False, checkpoint_folder=tmp_path, checkpoint_seconds=60, total_steps=1,
    )  # fmt: skip
    measured = layer_similarities(model, TaskData(task, "accuracy", rows, None, rows), context)

    batch = source.tokenizer(texts, padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    with torch.no_grad():
        states = model(**batch, output_hidden_states=True).hidden_states
    real = batch["attention_mask"].bool()
    cosines = [functional.cosine_similarity(a, b, dim=-1)[real].mean() for a, b in pairwise(states)]
    assert measured == pytest.approx([float(c) for c in cosines], abs=1e-4)


@pytest.mark.parametrize(
    ("strategy", "kept"),
    [
        ("top", [0, 1, 2]),
        ("bottom", [2, 3, 4]),
        ("alternate", [0, 1, 3]),
        ("symmetric", [0, 1, 4]),
        ("growing", [0, 1, 4]),
    ],
)
def test_the_layers_that_stay_are_those_of_the_original_unchanged(
    tmp_path: Path, strategy: str, kept: list[int]
) -> None:
    step = {"method": "layer_drop", "keep_layers": 3, "strategy": strategy, "recovery": None}
    spec = make_spec(tmp_path, [step], layers=5)
    run_to_end(spec, tmp_path / "out")
    before = load_file(spec.model / "model.safetensors")
    after = load_file(tmp_path / "out" / "model" / "model.safetensors")
    expected = {name: tensor for name, tensor in before.items() if ".layer." not in name}
    for place, source in enumerate(kept):
        start = f"bert.encoder.layer.{source}."
        for name, tensor in before.items():
            if name.startswith(start):
                expected[name.replace(start, f"bert.encoder.layer.{place}.")] = tensor
    assert after.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in after.items())


@pytest.mark.parametrize("fitted", [False, True])
def test_best_tells_what_each_strategy_keeps_and_takes_the_best_after_an_interruption_too(
    fitted: bool,
    tmp_path: Path,
) -> None:
    step = {"method": "layer_drop", "keep_layers": 2, "fitted": fitted, "recovery": TRAINING}
    spec = make_spec(tmp_path, [step])
    report = run_to_end(spec, tmp_path / "whole")
    note, *others = report.notes
    assert len(others) == fitted
    for strategy in (*RULES, "contribution"):
        assert f"{strategy} " in note
        assert len(report.curves[f"untrained.{strategy}"]) == 1
    values = {name: points[0].value for name, points in report.curves.items() if name.startswith("untrained")}
    assert f"kept: {max(values, key=lambda name: values[name]).removeprefix('untrained.')}" in note

    events = io.StringIO()
    with pytest.raises(Stopped):
        run(spec, tmp_path / "stopped", EventWriter(events), stop_after(40 if fitted else 12))
    assert any(parse_event(line).type == "metric" for line in events.getvalue().splitlines())
    again = run_to_end(resumed(spec, tmp_path / "stopped"), tmp_path / "again")
    assert weights_of(tmp_path / "again") == weights_of(tmp_path / "whole")
    assert again.notes == report.notes


def test_a_threshold_that_no_layer_passes_is_warned_of(tmp_path: Path) -> None:
    step = {"method": "layer_drop", "strategy": "contribution", "threshold": 0.999999, "recovery": None}
    report = run_to_end(make_spec(tmp_path, [step]), tmp_path / "out")
    assert report.after.layers == report.before.layers
    assert any("no layer is more similar" in warning for warning in report.warnings)


DOWN_TO_TWO = {"strategy": "contribution", "threshold": 0.9, "keep_layers": 2}
ALTERNATE = {"method": "layer_drop", "strategy": "alternate"}


@pytest.mark.parametrize(
    ("steps", "refused"),
    [
        ([{"method": "theseus", "modules": [2]}], ("modules_do_not_cover", "/steps/1/modules")),
        ([{"method": "theseus", "successor_layers": 2}], ("successor_too_deep", "/steps/1/successor_layers")),
        ([ALTERNATE | {"keep_layers": 1}], ("too_many_to_alternate", "/steps/1/keep_layers")),
        (
            [{"method": "share"}, {"method": "layer_drop", "keep_layers": 1}],
            ("successor_too_shallow", "/steps/2/keep_layers"),
        ),
        ([{"method": "theseus", "successor_layers": 1}], None),
        ([{"method": "theseus"}, {"method": "low_rank"}], None),
        ([{"method": "tinybert", "student_layers": 2, "hidden_size": 8}, ALTERNATE], None),
        ([{"method": "share"}, {"method": "quantize"}], None),
    ],
)
def test_what_follows_a_threshold_must_fit_any_number_of_layers_that_it_may_leave(
    tmp_path: Path, steps: list[dict[str, Any]], refused: tuple[str, str] | None
) -> None:
    recipe = [{"method": "layer_drop", **DOWN_TO_TWO}, *steps]
    if refused is None:
        make_spec(tmp_path, recipe)
        return
    with pytest.raises(InputError, match="leave the threshold out") as error:
        make_spec(tmp_path, recipe)
    assert [(p.code, p.place) for p in error.value.problems] == [refused]


def test_the_pull_towards_the_whole_model_changes_what_is_learnt(tmp_path: Path) -> None:
    results = []
    for name, distillation in (("without", None), ("with", {"weight": 0.9, "temperature": 3})):
        step = {
            "method": "layer_drop",
            "keep_layers": 2,
            "distillation": distillation,
            "recovery": TRAINING,
        }
        (tmp_path / name).mkdir()
        run_to_end(make_spec(tmp_path / name, [step]), tmp_path / name / "out")
        results.append(weights_of(tmp_path / name / "out"))
    assert results[0] != results[1]
