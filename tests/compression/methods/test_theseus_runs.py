"""Whole runs of Theseus: what they leave, what stops them, and what an interruption changes, which is nothing."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from compression.architectures import anatomy_of
from compression.checkpoints.loading import open_source
from compression.errors import Stopped
from compression.evaluation.predict import predict
from compression.events import EventWriter, parse_event
from compression.run import run
from tests.compression.jobs import TRAINING, make_spec, resumed, run_to_end, stop_after, weights_of


@pytest.mark.parametrize(
    ("settings", "given", "sources"),
    [
        ({"successor_layers": 2}, {"layers": 5}, [1, 4]),
        ({"modules": [1, 3]}, {}, [0, 3]),
        ({"successor_layers": 2}, {"regression": True}, [1, 3]),
        ({"successor_layers": 2}, {"pairs": True}, [1, 3]),
        ({"successor_layers": 2}, {"labels": ["bad", "fine", "good"]}, [1, 3]),
    ],
    ids=["uneven-modules", "explicit-modules", "regression", "pairs", "three-classes"],
)
def test_a_whole_run_leaves_a_plain_model_that_gives_the_reported_outputs(
    tmp_path: Path, settings: dict[str, Any], given: dict[str, Any], sources: list[int]
) -> None:
    """Where layers, outputs or inputs are not the usual ones; few steps leave a layer nearest to its source."""
    spec = make_spec(tmp_path, [{"method": "theseus", **settings, "training": TRAINING}], **given)
    report = run_to_end(spec, tmp_path / "out")
    assert report.curves["replacing_rate"][-1].value == 1

    result = tmp_path / "out" / "model"
    model = AutoModelForSequenceClassification.from_pretrained(result).eval()
    assert len(anatomy_of(model).layers_of(model)) == model.config.num_hidden_layers == 2
    assert list(model.config.id2label.values()) == list(open_source(spec.model).facts.labels)
    original, successor = (load_file(folder / "model.safetensors") for folder in (spec.model, result))
    name = "bert.encoder.layer.{}.attention.self.query.weight"
    for place, source in enumerate(sources):
        moved = {
            layer: float((successor[name.format(place)] - original[name.format(layer)]).norm())
            for layer in range(report.before.layers)
        }
        assert min(moved, key=lambda layer: moved[layer]) == source

    tokenizer = AutoTokenizer.from_pretrained(result)
    lines = (tmp_path / "out" / "artifacts" / "predictions.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 24
    for row in map(json.loads, lines):
        inputs = tokenizer(row["text"], row.get("text_pair"), return_tensors="pt")
        with torch.inference_mode():
            outputs = model(**inputs).logits[0]
        np.testing.assert_allclose(outputs.numpy(), np.atleast_1d(row["after"]), atol=1e-5)


@pytest.mark.parametrize("head", ["frozen", "at_end", "trained"])
def test_embeddings_and_head_stay_as_they_were(tmp_path: Path, head: str) -> None:
    schedule = {"type": "linear", "full_at": 0.2}
    step = {
        "method": "theseus",
        "successor_layers": 2,
        "head": head,
        "schedule": schedule,
        "training": TRAINING,
    }
    spec = make_spec(tmp_path, [step])
    run_to_end(spec, tmp_path / "out")
    before = load_file(spec.model / "model.safetensors")
    after = load_file(tmp_path / "out" / "model" / "model.safetensors")
    changed = {
        name
        for name, tensor in after.items()
        if "layer." not in name and not torch.equal(tensor, before[name])
    }
    assert all(name.startswith(("classifier", "bert.pooler")) for name in changed)
    assert bool(changed) == (head != "frozen")


def test_the_distillation_term_changes_what_is_learnt(tmp_path: Path) -> None:
    results = []
    for name, distillation in (("without", None), ("with", {"weight": 0.9, "temperature": 3})):
        step = {
            "method": "theseus",
            "successor_layers": 2,
            "distillation": distillation,
            "training": TRAINING,
        }
        (tmp_path / name).mkdir()
        run_to_end(make_spec(tmp_path / name, [step]), tmp_path / name / "out")
        results.append((tmp_path / name / "out" / "model" / "model.safetensors").read_bytes())
    assert results[0] != results[1]


def test_a_model_that_names_one_class_only_is_warned_of_once(tmp_path: Path) -> None:
    training = {**TRAINING, "learning_rate": 1e-12, "evaluations_per_epoch": 2}
    spec = make_spec(tmp_path, [{"method": "theseus", "successor_layers": 1, "training": training}])
    head = load_file(spec.model / "model.safetensors")
    head["classifier.bias"] = torch.tensor([50.0, -50.0])
    save_file(head, spec.model / "model.safetensors", metadata={"format": "pt"})
    events = io.StringIO()
    report = run(spec, tmp_path / "out", EventWriter(events), lambda: False)
    assert sum("same answer" in warning for warning in report.warnings) == 1
    told = [event for event in map(parse_event, events.getvalue().splitlines()) if event.type == "warning"]
    assert [event.code for event in told].count("stuck_at_one_class") == 1


@pytest.mark.parametrize(
    "settings",
    [{"gates": "example"}, {"border_weight": 1.0}, {"hidden_weight": 1.0}, {"initialization": "probe"}],
)
def test_options_leave_a_model_that_learnt(tmp_path: Path, settings: dict[str, Any]) -> None:
    step = {"method": "theseus", "successor_layers": 2, "probe_steps": 2, **settings, "training": TRAINING}
    report = run_to_end(make_spec(tmp_path, [step], architecture="distilbert"), tmp_path / "out")
    assert report.after.layers == 2
    assert bool(report.notes) == ("initialization" in settings)


def test_a_probe_is_not_repeated_after_an_interruption_and_changes_nothing(tmp_path: Path) -> None:
    step = {"method": "theseus", "successor_layers": 2, "initialization": "probe", "probe_steps": 3}
    spec = make_spec(tmp_path, [step | {"training": TRAINING}])
    whole = run_to_end(spec, tmp_path / "whole")
    # 4 validation rows' batches and 3 steps for each of 4 candidates come before the training.
    for checks in (5, 12, 20, 24):
        out = tmp_path / f"stopped-{checks}"
        with pytest.raises(Stopped):
            run(spec, out, EventWriter(io.StringIO()), stop_after(checks))
        again = resumed(spec, out) if any((out / "checkpoints").glob("*.safetensors")) else spec
        report = run_to_end(again, out / "again")
        assert weights_of(out / "again") == weights_of(tmp_path / "whole")
        assert report.notes == whole.notes


def test_training_stops_when_patience_is_spent_once_the_successor_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = TRAINING | {"epochs": 20, "patience": 2, "learning_rate": 1e-12}
    schedule = {"type": "constant", "full_at": 0.5}
    step = {"method": "theseus", "successor_layers": 2, "schedule": schedule, "training": training}
    spec = make_spec(tmp_path, [step])
    report = run_to_end(spec, tmp_path / "out")
    # 6 steps an epoch, validated after each; whole from step 60 on, and then in vain at steps 66 and 72.
    assert [point.step for point in report.curves["eval.accuracy"]][-2:] == [66, 72]

    validations = 0

    def counted(*arguments: Any) -> Any:
        nonlocal validations
        validations += 1
        return predict(*arguments)

    monkeypatch.setattr("compression.training.loop.predict", counted)
    with pytest.raises(Stopped):  # in the middle of the validation after step 66
        run(spec, tmp_path / "stopped", EventWriter(io.StringIO()), lambda: validations == 11)
    again = resumed(spec, tmp_path / "stopped")
    assert again.runtime.resume_from is not None
    assert again.runtime.resume_from.stem.endswith("66")
    report = run_to_end(again, tmp_path / "again")
    assert [point.step for point in report.curves["eval.accuracy"]][-2:] == [66, 72]
    assert weights_of(tmp_path / "again") == weights_of(tmp_path / "out")


def test_a_last_batch_in_which_no_row_draws_a_successor_trains_nothing(tmp_path: Path) -> None:
    spec_of = {
        "method": "theseus", "successor_layers": 2, "gates": "example",
        "schedule": {"type": "constant", "rate": 0.02, "full_at": 1.0},
        "training": TRAINING | {"batch_size": 47, "epochs": 6},
    }  # fmt: skip
    run_to_end(make_spec(tmp_path, [spec_of]), tmp_path / "out")


def test_a_probe_takes_no_more_steps_than_the_training_whose_rows_the_teacher_knows(tmp_path: Path) -> None:
    training = TRAINING | {"max_steps": 2, "batching": "padded"}
    step = {"method": "theseus", "successor_layers": 2, "initialization": "probe", "distillation": {}}
    report = run_to_end(make_spec(tmp_path, [step | {"training": training}]), tmp_path / "out")
    (note,) = (note for note in report.notes if note.startswith("theseus: validation loss"))
    assert "after 2 steps" in note
    assert "inf" not in note


def test_a_probe_that_tells_nothing_keeps_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compression.methods.theseus.probe.validation_loss", lambda *_: float("nan"))
    step = {"method": "theseus", "successor_layers": 2, "initialization": "probe", "training": TRAINING}
    report = run_to_end(make_spec(tmp_path, [step]), tmp_path / "out")
    assert any(note.endswith("kept: module_last") for note in report.notes)


def test_options_survive_an_interruption(tmp_path: Path) -> None:
    options = {"head": "at_end", "gates": "example", "border_weight": 0.5}
    schedule = {"type": "step", "full_at": 0.3, "stagger": 0.1}
    step = {"method": "theseus", "successor_layers": 2, **options, "schedule": schedule, "training": TRAINING}
    spec = make_spec(tmp_path, [step])
    run_to_end(spec, tmp_path / "whole")
    for checks in (4, 10):
        out = tmp_path / f"stopped-{checks}"
        with pytest.raises(Stopped):
            run(spec, out, EventWriter(io.StringIO()), stop_after(checks))
        run_to_end(resumed(spec, out), out / "again")
        assert weights_of(out / "again") == weights_of(tmp_path / "whole")
