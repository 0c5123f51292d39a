import os
import re
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when a card imports sentence-transformers

from compression.checkpoints.facts import Architecture, TaskType
from compression.report.card import render_card
from compression.spec import MODEL_TAR, Plan, RunSpec
from tests.compression.jobs import TRAINING, make_spec, predictions_of, run_to_end
from tests.compression.report.sample import HOSTILE, hostile_report, sample_report

FORMS: dict[str, dict[str, Any]] = {
    "plain": {"method": "layer_drop", "keep_layers": 1, "recovery": None},
    "own": {"method": "low_rank", "weighting": "none", "recovery": None},
}
PIPELINES: tuple[TaskType, ...] = (
    "text-classification",
    "token-classification",
    "fill-mask",
    "text-generation",
)
"""Tasks for which transformers has a pipeline."""


def plan(problem_type: str = "single_label", text_pair: str | None = None) -> Plan:
    labels = ["negative", "positive"] if problem_type == "single_label" else ["score"]
    return Plan.model_validate(
        {
            "steps": [{"method": "theseus", "successor_layers": 3}],
            "task": {
                "type": "text-classification",
                "problem_type": problem_type,
                "columns": {"text": "sentence", "text_pair": text_pair, "label": "label"},
                "labels": {},
                "label_names": labels,
                "max_length": 128,
            },
        }
    )


def rendered(card: str) -> str:
    """The card as a site would show it, with raw HTML allowed as on the most careless one."""
    body = card.split("---\n", 2)[2]
    page: str = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    return page


def test_the_card_says_how_to_load_the_model_and_what_was_measured() -> None:
    card = render_card(sample_report(), plan())
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: text-classification\n")
    assert 'pipeline("text-classification", model=' in card
    assert "Labels: negative, positive." in card
    assert "| Accuracy | 89.33 % (87.23–91.23) | 88.76 % (86.66–90.66) | −0.57 points |" in card
    assert '"successor_layers": 3' in card
    assert rendered(card).count("<table>") == 2


def test_the_example_fits_the_task() -> None:
    assert 'print(model("a text"))' in render_card(sample_report(), plan())
    pair = render_card(sample_report(), plan(text_pair="second"))
    assert '{"text": "one text", "text_pair": "the other"}' in pair
    score = render_card(sample_report(), plan("regression"))
    assert 'function_to_apply="none"' in score
    assert "Labels:" not in score


class Delivered:
    """A result, unpacked into the current folder as its card says."""

    def __init__(self, spec: RunSpec, folder: Path, patch: pytest.MonkeyPatch) -> None:
        run_to_end(spec, folder / "out")
        self.rows, artifacts = predictions_of(folder / "out"), folder / "out" / "artifacts"
        self.card = (artifacts / "README.md").read_text("utf-8")
        shutil.copy(artifacts / "model.onnx", folder)
        with tarfile.open(artifacts / MODEL_TAR) as archive:
            archive.extractall(folder, filter="data")
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        patch.delitem(sys.modules, "plankwright_model", raising=False)

    def use(self, texts: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Run the code for torch and for ONNX Runtime with other texts than the card's: the names it leaves behind."""
        in_torch, in_onnx = re.findall(r"```python\n(.*?)```", self.card, re.DOTALL)
        found: tuple[dict[str, Any], dict[str, Any]] = {}, {}
        for code, names in zip((in_torch, in_onnx), found, strict=True):
            for old, new in texts.items():
                code = code.replace(f'"{old}"', repr(new))
            exec(code, names)
        return found


@pytest.mark.parametrize(
    ("task", "form", "how"),
    [
        *((task, form, {}) for task in PIPELINES for form in FORMS),
        ("text-classification", "plain", {"pairs": True}),
        ("text-classification", "plain", {"regression": True}),
        ("sentence-similarity", "plain", {}),
    ],
)
def test_the_code_in_the_card_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: TaskType, form: str, how: dict[str, Any]
) -> None:
    architecture: Architecture = "gpt2" if task == "text-generation" else "bert"
    spec = make_spec(
        tmp_path, [FORMS[form]], task=task, architecture=architecture, layers=2, exports=["onnx"], **how
    )
    result = Delivered(spec, tmp_path, monkeypatch)
    assert ("plankwright_model.py" in result.card) == (form == "own")
    result.use({})


@pytest.mark.parametrize(("form", "may_be_unanswered"), [("plain", True), ("own", False)])
def test_the_code_finds_the_answers_that_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, may_be_unanswered: bool
) -> None:
    """Where there may be none, by a model that has learnt so."""
    step = FORMS[form]
    if may_be_unanswered:
        step = step | {"recovery": TRAINING | {"learning_rate": 3e-3}}
    task: TaskType = "question-answering"
    settings = {"may_be_unanswered": may_be_unanswered}
    spec = make_spec(tmp_path, [step], task=task, layers=2, exports=["onnx"], settings=settings)
    result = Delivered(spec, tmp_path, monkeypatch)
    rows = result.rows[:8]
    assert max(len(row["context"].split()) for row in rows) > spec.plan.task.max_length
    assert {row["after_answer"] == "" for row in rows} == {False, may_be_unanswered}
    for row in rows:
        in_torch, in_onnx = result.use(
            {"a question": row["question"], "a text that answers it": row["context"]}
        )
        assert in_torch["answer"] == row["after_answer"]
        names = [value.name for value in in_onnx["session"].get_outputs()]
        assert names == ["start_logits", "end_logits"], "as the card says"


@pytest.mark.parametrize(("pooling", "normalize"), [("mean", True), ("cls", False), ("max", True)])
def test_the_code_finds_the_embeddings_that_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pooling: str, normalize: bool
) -> None:
    spec = make_spec(tmp_path, [FORMS["own"]], task="sentence-similarity", layers=2, exports=["onnx"])
    task = spec.plan.task.model_copy(update={"pooling": pooling, "normalize": normalize})
    spec = spec.model_copy(update={"plan": spec.plan.model_copy(update={"task": task})})
    result = Delivered(spec, tmp_path, monkeypatch)
    for row in result.rows[:4]:
        for names in result.use({"a text": row["text"], "another text": row["text_pair"]}):
            lengths = np.linalg.norm(names["vectors"], axis=1)
            cosine = np.prod(names["vectors"] / lengths[:, None], axis=0).sum()
            assert cosine == pytest.approx(row["after"], abs=1e-5)
            assert (lengths == pytest.approx(1)) == normalize


@pytest.mark.parametrize("typed", [*HOSTILE, "# heading", "- item", "1. first", "> quote", "=====", "+ x"])
def test_what_a_user_typed_stays_text(typed: str) -> None:
    hostile = hostile_report().model_copy(
        update={"job_name": typed, "recipe": [typed], "warnings": [typed], "notes": [typed]}
    )
    page = rendered(render_card(hostile, plan()))
    plain = rendered(render_card(sample_report(), plan()))
    assert re.findall(r"<(\w+)", page) == re.findall(r"<(\w+)", plain)


def test_direction_controls_do_not_reach_the_card() -> None:
    card = render_card(hostile_report(), plan())
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x09\x0b-\x1f]", card)
