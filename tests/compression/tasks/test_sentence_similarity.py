"""Embeddings of sentences: those of the package sentence-transformers, before and after, and what is refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the package is imported
from sentence_transformers import SentenceTransformer

from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import load_model, open_source
from compression.checkpoints.sentence import Pooling, SentenceHead
from compression.data.batches import collate
from compression.errors import InputError
from compression.export.sums import SUMS, write_sums
from compression.export.verify import verify
from compression.tasks.behaviour import behaviour_of
from compression.tasks.encoding import encode_split
from tests.checkpoints import make_tiny_checkpoint, write_modules
from tests.compression.jobs import TRAINING, make_spec, run_to_end

STEPS: list[dict[str, Any]] = [
    {"method": "trim_vocabulary", "keep_share": 0.99},
    {"method": "tinybert", "student_layers": 2, "augmentation": {}, "training": TRAINING},
    {"method": "narrow", "rows": 16, "recovery": TRAINING},
]


def test_the_result_is_a_folder_of_the_package(tmp_path: Path) -> None:
    """The package gives what was recorded, of what a user sent and of what he gets."""
    spec = make_spec(tmp_path, STEPS, task="sentence-similarity")
    report = run_to_end(spec, tmp_path / "out")
    rows = [
        json.loads(line) for line in (tmp_path / "out/artifacts/predictions.jsonl").open(encoding="utf-8")
    ]
    for folder, name in ((spec.model, "before"), (tmp_path / "out" / "model", "after")):
        encoder = SentenceTransformer(str(folder), device="cpu")
        assert encoder.max_seq_length == 64
        first, second = (encoder.encode([row[role] for row in rows]) for role in ("text", "text_pair"))
        cosines = (first * second).sum(axis=1)  # they have length 1
        np.testing.assert_allclose(cosines, [row[name] for row in rows], atol=1e-5)
        np.testing.assert_allclose(cosines, [row[f"{name}_answer"] for row in rows], atol=1e-5)
    assert report.before.metrics["cosine"].value == pytest.approx(1)
    card = (tmp_path / "out" / "artifacts" / "README.md").read_text("utf-8")
    assert 'SentenceTransformer("model")' in card
    assert "mean cosine" in card


def test_texts_without_pairs_are_held_against_the_original(tmp_path: Path) -> None:
    """And a result is known again by its own answers alone."""
    step = {"method": "layer_drop", "recovery": None}
    columns = {"text": "text", "score": None}
    spec = make_spec(tmp_path, [step], task="sentence-similarity", settings={"columns": columns})
    report = run_to_end(spec, tmp_path / "out")
    artifacts = tmp_path / "out" / "artifacts"
    rows = [json.loads(line) for line in (artifacts / "predictions.jsonl").open(encoding="utf-8")]
    models = spec.model, tmp_path / "out" / "model"
    old, new = (
        SentenceTransformer(str(folder), device="cpu").encode([row["text"] for row in rows])
        for folder in models
    )
    for name, cosines in (
        ("before", (old * np.roll(old, -1, axis=0)).sum(axis=1)),
        ("after", (new * np.roll(new, -1, axis=0)).sum(axis=1)),
        ("before_answer", np.ones(len(rows))),
        ("after_answer", (old * new).sum(axis=1)),
    ):
        np.testing.assert_allclose([row[name] for row in rows], cosines, atol=1e-5)
    assert np.mean([row["after_answer"] for row in rows]) == pytest.approx(
        report.after.metrics["cosine"].value
    )
    verified = verify(artifacts)
    assert (verified.measured, verified.largest_difference < 1e-5) == (None, True)
    stranger = {**rows[3], "after": rows[3]["after"] + 0.01}
    (artifacts / "predictions.jsonl").write_text("\n".join(map(json.dumps, [*rows[:3], stranger, *rows[4:]])))
    (artifacts / SUMS).unlink()
    write_sums(artifacts)
    with pytest.raises(InputError, match="not the model that was measured"):
        verify(artifacts)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_poolings_are_those_of_the_package_however_it_writes_them(tmp_path: Path, pooling: Pooling) -> None:
    folder = make_tiny_checkpoint(tmp_path / "old", task="sentence-similarity")
    names = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
    write_modules(folder, 16, f"pooling_mode_{names[pooling]}")
    encoder = SentenceTransformer(str(folder), device="cpu")
    encoder.save(str(tmp_path / "new"))
    head = SentenceHead(pooling=pooling, normalize=True, max_length=64)
    assert [inspect_checkpoint(tmp_path / name).sentence for name in ("old", "new")] == [head, head]
    spec = make_spec(tmp_path / "job", [{"method": "narrow"}], task="sentence-similarity")
    task = spec.plan.task.model_copy(update={"pooling": pooling})
    source = open_source(tmp_path / "new")
    data = encode_split(source, spec.dataset, "validation", task, None)
    model = load_model(source.folder, source.facts, torch.device("cpu"))
    with torch.no_grad():
        vectors = behaviour_of(task).logits(model, collate(data, np.arange(len(data)), torch.device("cpu")))
    texts = [text for row in data.table.to_pylist() for text in (row["text"], row["text_pair"])]
    np.testing.assert_allclose(vectors.numpy(), encoder.encode(texts), atol=1e-5)


def test_weights_matter_although_a_model_is_its_own_teacher(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, [{"method": "narrow"}], task="sentence-similarity")
    source, task = open_source(spec.model), behaviour_of(spec.plan.task)
    data = encode_split(source, spec.dataset, "train", spec.plan.task, None)
    model = load_model(source.folder, source.facts, torch.device("cpu"))
    batch = collate(data, np.arange(8), torch.device("cpu"))
    weight = model.get_parameter("encoder.layer.0.intermediate.dense.weight")
    (gradient,) = torch.autograd.grad(task.probe(task.logits(model, batch), batch), weight)
    assert float(gradient.abs().max()) > 1e-4


Change = Callable[[Path], None]


def written(name: str, **keys: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(content | keys))

    return change


def with_module(index: int, **keys: Any) -> Change:
    def change(folder: Path) -> None:
        modules = json.loads((folder / "modules.json").read_text())
        modules[index] |= keys
        (folder / "modules.json").write_text(json.dumps(modules))

    return change


def not_a_list(folder: Path) -> None:
    (folder / "modules.json").write_text("{}")


REFUSALS: dict[str, tuple[Change, str, str]] = {
    "no modules": (lambda folder: (folder / "modules.json").unlink(), "no_task_head", "config.json#/architectures"),
    "no list": (not_a_list, "invalid_json", "modules.json"),
    "dense": (
        with_module(2, type="sentence_transformers.models.Dense"), "unsupported_modules", "modules.json#/2",
    ),
    "foreign code": (with_module(0, type="mine.Transformer"), "unsupported_modules", "modules.json#/0"),
    "out of the folder": (with_module(1, path="../1_Pooling"), "unsupported_modules", "modules.json#/1/path"),
    "no pooling": (lambda folder: (folder / "1_Pooling/config.json").unlink(), "missing_file", "1_Pooling/config.json"),
    "two poolings": (
        written("1_Pooling/config.json", pooling_mode_cls_token=True), "unsupported_pooling",
        "1_Pooling/config.json#/pooling_mode",
    ),
    "another width": (
        written("1_Pooling/config.json", word_embedding_dimension=8), "inconsistent_config",
        "1_Pooling/config.json#/word_embedding_dimension",
    ),
    "prompt": (
        written("config_sentence_transformers.json", default_prompt_name="query"), "unsupported_config",
        "config_sentence_transformers.json#/default_prompt_name",
    ),
    "lower case": (
        written("sentence_bert_config.json", do_lower_case=True), "unsupported_config",
        "sentence_bert_config.json#/do_lower_case",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_modules_that_are_not_known_are_refused(tmp_path: Path, name: str) -> None:
    change, code, place = REFUSALS[name]
    folder = make_tiny_checkpoint(tmp_path / "m", task="sentence-similarity")
    change(folder)
    with pytest.raises(InputError) as refused:
        inspect_checkpoint(folder)
    assert [(problem.code, problem.place) for problem in refused.value.problems] == [(code, place)]


def refusal(
    folder: Path, steps: list[dict[str, Any]], constraints: dict[str, float] | None = None, **settings: Any
) -> tuple[str, str]:
    with pytest.raises(InputError) as refused:
        make_spec(folder, steps, task="sentence-similarity", constraints=constraints or {}, settings=settings)
    return refused.value.problems[0].code, refused.value.problems[0].place


def test_what_cannot_be_held_against_the_original_is_refused(tmp_path: Path) -> None:
    narrower = [{"method": "tinybert", "hidden_size": 8}]
    assert refusal(tmp_path / "a", narrower) == ("method_does_not_fit", "/steps/0/hidden_size")
    student = make_tiny_checkpoint(tmp_path / "student", task="sentence-similarity", hidden=8)
    given = [{"method": "distill", "student": {"model": str(student)}}]
    assert refusal(tmp_path / "d", given) == ("student_differs", "/steps/0/student/model")
    loyal = {"min_label_loyalty": 0.5}
    assert refusal(tmp_path / "e", STEPS, loyal) == (
        "constraint_does_not_fit",
        "/constraints/min_label_loyalty",
    )
    columns = {"text": "text", "text_pair": None, "score": "score"}
    assert refusal(tmp_path / "b", STEPS, columns=columns) == ("no_pairs", "/task/columns/text_pair")
    columns = {"text": "text", "text_pair": "text_pair", "score": "text"}
    assert refusal(tmp_path / "c", STEPS, columns=columns) == ("scores_not_numeric", "/task/columns/score")
