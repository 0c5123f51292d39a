"""Every architecture that the contract of the methods is not tried on: few runs, of several methods each."""

import io
import json
import runpy
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from compression.architectures import anatomy_of
from compression.checkpoints.bodies import BODIES
from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import load_model, open_source
from compression.checkpoints.traits import Trait, architectures_with
from compression.data.batches import EVALUATION_PIECES
from compression.errors import InputError, Stopped
from compression.evaluation.onnx_model import OnnxModel
from compression.evaluation.predict import predict
from compression.events import EventWriter
from compression.export import onnx_files
from compression.export.verify import verify
from compression.methods.shape import ModelShape
from compression.registry import METHODS
from compression.run import run
from compression.spec import RunSpec
from compression.tasks.behaviour import behaviour_of
from compression.tasks.encoding import encode_split
from tests.checkpoints import MAX_LENGTH
from tests.compression.jobs import TRAINING, make_spec, resumed, run_to_end, stop_after, weights_of

OTHERS = [name for name in get_args(Architecture) if name not in ("bert", "roberta", "distilbert")]
BRIEF = TRAINING | {"epochs": 1}
DEPTH: list[dict[str, Any]] = [
    {"method": "layer_drop", "keep_layers": 4, "strategy": "bottom", "recovery": BRIEF},
    {
        "method": "theseus",
        "successor_layers": 2,
        "gates": "example",
        "border_weight": 0.1,
        "hidden_weight": 0.1,
        "fitted": True,
        "training": TRAINING,
    },
]
MATRICES: list[dict[str, Any]] = [
    {"method": "trim_vocabulary", "keep_share": 0.985},
    {"method": "narrow", "rows": 16, "rounds": 2, "recovery": BRIEF},
    {"method": "ladabert", "ratio": 3, "training": BRIEF},
    {"method": "quantize"},
]
WITHOUT_A_FILE = {"method": "quantize", "scheme": "group-wise", "group_size": 8, "sensitivity_rows": 8}
STUDENTS: list[dict[str, Any]] = [
    {
        "method": "distill",
        "student_layers": 2,
        "hidden_weight": 0.5,
        "attention_weight": 0.5,
        "patient": {"weight": 0.5},
        "fitted": True,
        "training": BRIEF,
    },
    {"method": "tinybert", "student_layers": 1, "hidden_size": 8, "training": BRIEF},
    {"method": "low_rank", "rows": 16, "recovery": BRIEF},
    {"method": "prune", "training": BRIEF},
]
SHARED: list[dict[str, Any]] = [{"method": "share", "groups": 2, "embedding_size": 8, "recovery": BRIEF}]
NEEDS: dict[str, Trait] = {"attention_weight": "plain_scores", "patient": "first_sees_all"}
"""Terms of distillation that some architectures lack what they need for."""


def served(steps: list[dict[str, Any]], architecture: Architecture) -> list[dict[str, Any]]:
    """Those of the steps that serve an architecture, each without terms that do not."""
    lacking = {term for term, trait in NEEDS.items() if architecture not in architectures_with(trait)}
    return [
        {name: value for name, value in step.items() if name not in lacking}
        for step in steps
        if architecture in METHODS[step["method"]].ARCHITECTURES
    ]


def test_every_method_is_among_those_that_are_tried() -> None:
    """On each architecture that it serves, then: recipes leave out what does not serve one, and nothing else."""
    tried = (*DEPTH, *MATRICES, *STUDENTS, *SHARED)
    assert {step["method"] for step in tried} == set(METHODS)


def check_delivered(spec: RunSpec, out: Path) -> Any:
    """The checkpoint has the shape that was declared, and gives users what the report says; the model in it."""
    shape = ModelShape.of(inspect_checkpoint(spec.model))
    for step in spec.plan.steps:
        shape = step.resulting(shape)
    folder = out / "model"
    assert ModelShape.of(inspect_checkpoint(folder)) == shape
    if shape.low_rank:
        model: Any = runpy.run_path(str(folder / "plankwright_model.py"))["load"](folder)
    else:
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    exact, rounded = [], []
    for row in map(json.loads, (out / "artifacts" / "predictions.jsonl").read_text("utf-8").splitlines()):
        with torch.inference_mode():
            logits = model(**tokenizer(row["text"], return_tensors="pt")).logits[0]
        exact.append(row["files"].get("model.tar", row["after"]))
        rounded.append(row["after"])
        np.testing.assert_allclose(logits.numpy(), exact[-1], atol=1e-5)
    if spec.plan.headline == "model.int8.onnx":
        # So small a share of so small a model answers all rows much alike: rounding shows more than it does elsewhere.
        assert np.corrcoef(np.ravel(exact), np.ravel(rounded))[0, 1] > 0.95
    return model


def check_for_any_rows(path: Path, model: Any) -> None:
    """An ONNX file gives what the model gives, whatever the number and the length of the rows."""
    draw = torch.Generator().manual_seed(0)
    for rows, length in ((1, 1), (1, 9), (3, 7), (32, 12), (2, MAX_LENGTH)):
        inputs = {"input_ids": torch.randint(5, 100, (rows, length), generator=draw)}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        inputs["attention_mask"][0, (length + 1) // 2 :] = 0
        inputs["input_ids"][inputs["attention_mask"] == 0] = model.config.pad_token_id
        with torch.inference_mode():
            expected = model(**inputs).logits
        found = OnnxModel(path, model.config, 1)(**inputs).logits
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "architecture", [name for name in OTHERS if name in architectures_with("own_layers")]
)
def test_depth_goes_the_whole_way_and_an_interruption_changes_nothing(
    tmp_path: Path, architecture: Architecture
) -> None:
    spec = make_spec(tmp_path, DEPTH, architecture=architecture, layers=5)
    run_to_end(spec, tmp_path / "whole")
    check_delivered(spec, tmp_path / "whole")
    with pytest.raises(Stopped):
        run(spec, tmp_path / "stopped", EventWriter(io.StringIO()), stop_after(40))
    run_to_end(resumed(spec, tmp_path / "stopped"), tmp_path / "resumed")
    assert weights_of(tmp_path / "resumed") == weights_of(tmp_path / "whole")


def test_an_albert_is_run_fewer_times(tmp_path: Path) -> None:
    """Its weights stay as many; what learns is the layer that is run."""
    for recovery in (None, BRIEF):
        folder = tmp_path / str(bool(recovery))
        step = {"method": "layer_drop", "keep_layers": 2, "recovery": recovery}
        spec = make_spec(folder, [step], architecture="albert", layers=5)
        report = run_to_end(spec, folder / "out")
        check_delivered(spec, folder / "out")
        assert (report.before.layers, report.after.layers) == (5, 2)
        assert report.after.parameters == report.before.parameters
        assert report.after.flops < 0.6 * report.before.flops
        same = weights_of(folder / "out") == (spec.model / "model.safetensors").read_bytes()
        assert same is (recovery is None)


@pytest.mark.parametrize(
    ("architecture", "steps"),
    [
        *((name, served(STUDENTS, name)) for name in OTHERS if served(STUDENTS, name)),
        *((name, served(SHARED, name)) for name in OTHERS if served(SHARED, name)),
        ("camembert", [*served(MATRICES[:-1], "camembert"), WITHOUT_A_FILE]),
    ],
)
def test_other_methods_go_the_whole_way(
    tmp_path: Path, architecture: Architecture, steps: list[dict[str, Any]]
) -> None:
    """Without the files that take seconds to be written."""
    spec = make_spec(tmp_path, steps, architecture=architecture, layers=3)
    run_to_end(spec, tmp_path / "out")
    check_delivered(spec, tmp_path / "out")


@pytest.mark.parametrize("architecture", [name for name in OTHERS if name != "camembert"])
def test_matrices_go_the_whole_way(tmp_path: Path, architecture: Architecture) -> None:
    steps = served(MATRICES, architecture)
    spec = make_spec(tmp_path, steps, architecture=architecture, layers=1, exports=["onnx"])
    run_to_end(spec, tmp_path / "out")
    model = check_delivered(spec, tmp_path / "out")
    check_for_any_rows(tmp_path / "out" / "artifacts" / "model.onnx", model)


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        (architecture, task)
        for architecture in OTHERS
        for task in BODIES[architecture].heads
        if task != "text-classification"
    ],
)
def test_other_tasks_are_answered(tmp_path: Path, architecture: Architecture, task: TaskType) -> None:
    step = {"method": "quantize"}
    spec = make_spec(tmp_path, [step], architecture=architecture, task=task, layers=1)
    source = open_source(spec.model)
    rows = encode_split(source, spec.dataset, "validation", spec.plan.task, None)
    logits = predict(load_model(source.folder, source.facts, torch.device("cpu")), rows, lambda: None)
    assert len(logits) == rows.outputs[-1] > 0
    assert np.isfinite(logits).all()
    assert behaviour_of(spec.plan.task).comparable(logits).std(axis=0).min() > 0.01


OTHER_HEADS: list[tuple[Architecture, TaskType]] = [
    ("modernbert", "fill-mask"),
    ("gpt2", "token-classification"),
]
"""Heads that are built otherwise than those of the contract's architectures."""


@pytest.mark.parametrize(("architecture", "task"), OTHER_HEADS)
def test_another_head_goes_the_whole_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: Architecture, task: TaskType
) -> None:
    """Where it has the logits of a whole vocabulary, the file is checked on a few word pieces at a time."""
    checked: list[int] = []

    class Watched(OnnxModel):
        def forward(self, **inputs: torch.Tensor) -> Any:
            checked.append(inputs["input_ids"].numel())
            return super().forward(**inputs)

    monkeypatch.setattr(onnx_files, "OnnxModel", Watched)
    trained = BRIEF | {"max_steps": 2}
    step = {"method": "theseus", "successor_layers": 1, "head": "trained", "training": trained}
    exports = ["onnx"] if task == "fill-mask" else ["safetensors"]
    spec = make_spec(tmp_path, [step], architecture=architecture, task=task, layers=2, exports=exports)
    run_to_end(spec, tmp_path / "out")
    assert verify(tmp_path / "out" / "artifacts").largest_difference < 1e-5
    assert max(checked, default=0) <= EVALUATION_PIECES
    source, result = (
        load_model(folder, inspect_checkpoint(folder), torch.device("cpu"))
        for folder in (spec.model, tmp_path / "out" / "model")
    )
    for old, new in zip(*(anatomy_of(model).head_of(model) for model in (source, result)), strict=True):
        assert any(
            not a.equal(b) for a, b in zip(old.state_dict().values(), new.state_dict().values(), strict=True)
        )


REFUSED: list[tuple[Architecture, dict[str, Any], str, str]] = [
    ("albert", {"method": "theseus"}, "/steps/0/method", "its layers share their weights"),
    (
        "albert",
        {"method": "layer_drop", "strategy": "top"},
        "/steps/0/strategy",
        "its layers share their weights",
    ),
    ("albert", {"method": "layer_drop", "fitted": True}, "/steps/0/fitted", "leave fitted out"),
    ("modernbert", {"method": "narrow"}, "/steps/0/method", "its neurons have gates"),
    (
        "gpt2",
        {"method": "distill", "preset": "patient"},
        "/steps/0/patient",
        "its first position sees itself alone",
    ),
    ("electra", {"method": "tinybert"}, "/steps/0/method", "its embeddings have a width of their own"),
    (
        "mpnet",
        {"method": "tinybert"},
        "/steps/0/method",
        "relative positions are added to its attention scores",
    ),
    (
        "mpnet",
        {"method": "distill", "attention_weight": 1},
        "/steps/0/attention_weight",
        "relative positions",
    ),
]


@pytest.mark.parametrize(("architecture", "step", "place", "reason"), REFUSED)
def test_what_cannot_be_done_is_refused_with_the_reason(
    tmp_path: Path, architecture: Architecture, step: dict[str, Any], place: str, reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        make_spec(tmp_path, [step], architecture=architecture)
    (problem,) = caught.value.problems
    assert (problem.code, problem.place) == ("method_does_not_fit", place)
    assert reason in problem.message
