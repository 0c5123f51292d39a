"""Students: which layers are compared, what each term does, what is refused."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import AutoTokenizer

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.inspection import inspect_checkpoint
from compression.errors import InputError, Stopped
from compression.events import EventWriter
from compression.methods.distill.objective import compared_layers
from compression.methods.distill.params import DistillParams, GivenStudent
from compression.run import run
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import TRAINING, make_spec, resumed, run_to_end, stop_after, weights_of


@pytest.mark.parametrize(
    ("layers", "student", "choice", "ends", "inner"),
    [
        (12, 6, "skip", {1: 2, 2: 4, 3: 6, 4: 8, 5: 10, 6: 12}, {1: 2, 2: 4, 3: 6, 4: 8, 5: 10}),
        (12, 3, "last", {1: 4, 2: 8, 3: 12}, {1: 10, 2: 11}),
        (5, 2, "skip", {1: 2, 2: 5}, {1: 2}),
    ],
)
def test_compared_layers(
    layers: int, student: int, choice: str, ends: dict[int, int], inner: dict[int, int]
) -> None:
    params = DistillParams.model_validate({"student_layers": student, "patient": {"layers": choice}})
    assert compared_layers(params, layers) == (ends, inner)


def test_parts_may_grow_with_the_depth() -> None:
    params = DistillParams.model_validate({"preset": "growing", "student_layers": 3})
    assert (params.partition(6), params.training.learning_rate) == ([1, 2, 3], 2e-4)
    assert compared_layers(params, 6)[0] == {1: 1, 2: 3, 3: 6}
    assert DistillParams(student_layers=3).partition(6) == [2, 2, 2]


@pytest.mark.parametrize(
    ("settings", "layers", "code", "place"),
    [
        ({"student_layers": 6}, 6, "successor_too_deep", "/student_layers"),
        ({}, 1, "successor_too_deep", "/student_layers"),
        ({"student_layers": 1, "preset": "patient"}, 6, "no_inner_layers", "/patient"),
    ],
)
def test_impossible_students_are_refused(
    settings: dict[str, Any], layers: int, code: str, place: str
) -> None:
    with pytest.raises(InputError) as refused:
        DistillParams.model_validate(settings).partition(layers)
    assert [(p.code, p.place) for p in refused.value.problems] == [(code, place)]


def test_a_preset_fills_in_what_is_not_said() -> None:
    params = DistillParams.model_validate({"preset": "distilbert", "cosine_weight": 1})
    assert (params.initialization, params.cosine_weight, params.distillation.weight) == ("spread", 1, 0.7)
    assert DistillParams.model_validate({"preset": "patient"}).patient is not None
    patient = {"preset": "patient", "distillation": {"weight": 0.2}, "patient": {"weight": 0.4}}
    params = DistillParams.model_validate(patient)
    assert (params.distillation.weight, params.distillation.temperature) == (0.2, 10)
    assert params.patient is not None
    assert (params.patient.weight, params.patient.layers) == (0.4, "skip")
    with pytest.raises(ValidationError):
        DistillParams.model_validate({"preset": "other"})


TERMS: list[dict[str, Any]] = [
    {},
    {"cosine_weight": 1.0},
    {"patient": {"weight": 1.0, "layers": "last"}},
    {"hidden_weight": 1.0},
    {"attention_weight": 1.0},
]


def test_every_term_changes_what_is_learnt(tmp_path: Path) -> None:
    results = set()
    for number, terms in enumerate(TERMS):
        training = TRAINING | {"max_steps": 2}
        step = {"method": "distill", "student_layers": 2, **terms, "training": training}
        (tmp_path / str(number)).mkdir()
        run_to_end(make_spec(tmp_path / str(number), [step]), tmp_path / str(number) / "out")
        results.add(weights_of(tmp_path / str(number) / "out"))
    assert len(results) == len(TERMS)


def of_given(student: Path, **settings: Any) -> dict[str, Any]:
    return {"method": "distill", "student": {"model": str(student)}, "training": TRAINING, **settings}


def test_a_student_may_be_a_model_of_its_own(tmp_path: Path) -> None:
    """A narrower one here; interrupted, it ends as if it had not been."""
    student = make_tiny_checkpoint(tmp_path / "student", layers=2, hidden=8, seed=5)
    spec = make_spec(tmp_path, [of_given(student, attention_weight=0.5, hidden_weight=0.5)])
    report = run_to_end(spec, tmp_path / "out")
    (step,) = spec.plan.steps
    assert isinstance(step, DistillParams)
    assert isinstance(step.student, GivenStudent)
    facts, given = inspect_checkpoint(tmp_path / "out" / "model"), inspect_checkpoint(student)
    assert step.student.shape is not None
    assert step.student.shape.model_dump().items() <= facts.model_dump().items()
    assert (facts.parameters, facts.hidden_size) == (given.parameters, 8)
    assert report.after.parameters < report.before.parameters
    assert weights_of(tmp_path / "out") != (student / "model.safetensors").read_bytes()
    manifest = json.loads((tmp_path / "out" / "artifacts" / "manifest.json").read_text())
    assert manifest["inputs"]["models"][str(student)]["model.safetensors"]

    with pytest.raises(Stopped):
        run(spec, tmp_path / "stopped", EventWriter(io.StringIO()), stop_after(12))
    run_to_end(resumed(spec, tmp_path / "stopped"), tmp_path / "resumed")
    assert weights_of(tmp_path / "resumed") == weights_of(tmp_path / "out")


STRANGERS: list[tuple[dict[str, Any], str]] = [
    ({"architecture": "distilbert"}, "architecture, bert, and has distilbert"),
    ({"task": "token-classification"}, "task, text-classification, and has token-classification"),
    ({"labels": ("positive", "negative")}, "labels"),
    ({"labels": ("negative", "neutral", "positive")}, "number of labels, 2, and has 3"),
    ({"regression": True}, "problem type, single_label, and has regression"),
]


@pytest.mark.parametrize(("options", "reason"), STRANGERS)
def test_what_cannot_be_the_student_is_refused_with_the_reason(
    tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    student = make_tiny_checkpoint(tmp_path / "student", **options)
    with pytest.raises(InputError, match=reason) as refused:
        make_spec(tmp_path, [of_given(student)])
    assert {(p.code, p.place) for p in refused.value.problems} == {
        ("student_differs", "/steps/0/student/model")
    }


def test_a_student_with_other_word_pieces_is_refused(tmp_path: Path) -> None:
    student = make_tiny_checkpoint(tmp_path / "student")
    tokenizer = student / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text("utf-8").replace('"cat"', '"horse"'), "utf-8")
    with pytest.raises(InputError, match="word pieces have other ids"):
        make_spec(tmp_path, [of_given(student)])
    trimmed = [
        {"method": "trim_vocabulary", "keep_share": 0.9},
        of_given(make_tiny_checkpoint(tmp_path / "other")),
    ]
    (tmp_path / "trimmed").mkdir()
    with pytest.raises(InputError, match="put distill before trim_vocabulary"):
        make_spec(tmp_path / "trimmed", trimmed)


UNREAD: list[tuple[Architecture, TaskType, dict[str, Any], dict[str, Any], str, str]] = [
    (
        "bert",
        "text-classification",
        {"type_vocab_size": 1},
        {"pairs": True},
        "/steps/0/student/model",
        "one type",
    ),
    ("bert", "question-answering", {"type_vocab_size": 1}, {}, "/steps/0/student/model", "one type alone"),
    ("bert", "fill-mask", {"vocab_size": 200}, {}, "/steps/0/student/model", "answer with, 180, and has 200"),
    (
        "bert",
        "fill-mask",
        {"max_position_embeddings": 32},
        {},
        "/task/max_length",
        "32 word pieces at the most",
    ),
    (
        "roberta",
        "token-classification",
        {"pad_token_id": 2},
        {},
        "/steps/0/student/model",
        "pad_token_id, 1, and has 2",
    ),
]


@pytest.mark.parametrize(("architecture", "task", "config", "rows", "place", "reason"), UNREAD)
def test_a_student_that_cannot_read_the_rows_is_refused_with_the_cure(
    tmp_path: Path,
    architecture: Architecture,
    task: TaskType,
    config: dict[str, Any],
    rows: dict[str, Any],
    place: str,
    reason: str,
) -> None:
    student = make_tiny_checkpoint(tmp_path / "student", architecture, task=task, **config)
    with pytest.raises(InputError, match=reason) as refused:
        make_spec(tmp_path, [of_given(student)], architecture=architecture, task=task, **rows)
    assert [p.place for p in refused.value.problems] == [place]


def test_a_student_with_less_room_brings_files_that_cut_texts_to_it(tmp_path: Path) -> None:
    """Single texts have no second token type either."""
    config: dict[str, Any] = {"max_position_embeddings": 16, "type_vocab_size": 1}
    for task in ("text-classification", "sentence-similarity"):
        folder = tmp_path / task
        student = make_tiny_checkpoint(folder / "student", task=task, **config)
        step = of_given(student, training={"max_steps": 1})
        run_to_end(make_spec(folder, [step], task=task, settings={"max_length": 16}), folder / "out")
        assert AutoTokenizer.from_pretrained(folder / "out" / "model").model_max_length == 16
    assert inspect_checkpoint(folder / "out" / "model").max_length == 16
    settings = json.loads((folder / "out" / "model" / "sentence_bert_config.json").read_text())
    assert settings["max_seq_length"] == 16


IMPOSSIBLE: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({"layers": 5}, {"attention_weight": 1}, "student_too_deep", "/steps/0/student/model"),
    ({"hidden": 8}, {"preset": "distilbert"}, "student_differs", "/steps/0/student/model"),
    ({"layers": 1}, {"preset": "patient"}, "no_inner_layers", "/steps/0/patient"),
]


@pytest.mark.parametrize(("options", "settings", "code", "place"), IMPOSSIBLE)
def test_terms_that_a_given_student_cannot_have_are_refused(
    tmp_path: Path, options: dict[str, Any], settings: dict[str, Any], code: str, place: str
) -> None:
    student = make_tiny_checkpoint(tmp_path / "student", **options)
    with pytest.raises(InputError) as refused:
        make_spec(tmp_path, [of_given(student, **settings)])
    assert [(p.code, p.place) for p in refused.value.problems] == [(code, place)]


def test_a_student_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        make_spec(tmp_path, [of_given(tmp_path / "nowhere")])
    assert [(p.code, p.place) for p in refused.value.problems] == [
        ("unknown_model", "/steps/0/student/model")
    ]
    with pytest.raises(ValidationError, match="leave it or student out"):
        DistillParams.model_validate({"student": {"model": "mdl_1"}, "student_layers": 2})
