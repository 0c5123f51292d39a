"""The methods' cards: all parts are there, and what they say of settings and models is what the code does."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

import compression.methods
from compression.checkpoints.facts import Architecture, TaskType
from compression.methods.distill.params import BiLstmStudent
from compression.registry import METHODS
from compression.training.params import Training

FOLDER = Path(compression.methods.__file__).parent
CARDS = {name: (FOLDER / name / "README.md").read_text("utf-8") for name in METHODS}
WRITTEN: dict[str, str] = {
    "bert": "BERT",
    "roberta": "RoBERTa",
    "distilbert": "DistilBERT",
    "xlm-roberta": "XLM-RoBERTa",
    "camembert": "CamemBERT",
    "electra": "ELECTRA",
    "albert": "ALBERT",
    "mpnet": "MPNet",
    "deberta-v2": "DeBERTa",
    "modernbert": "ModernBERT",
    "gpt2": "GPT-2",
    "bilstm": "BiLSTM",
    "text-classification": "text classification",
    "token-classification": "token classification",
    "question-answering": "question answering",
    "fill-mask": "`fill-mask`",
    "sentence-similarity": "`sentence-similarity`",
}
PARTS = [r"\*\*Use it\*\*", r"\| setting \| default \|", "## Measured", "## What differs from", "Sources?: "]


@pytest.mark.parametrize("name", METHODS)
def test_a_card_has_all_its_parts(name: str) -> None:
    assert CARDS[name].startswith(f"# {name}: ")
    for part in PARTS:
        assert re.search(rf"^#*{part}", CARDS[name], re.MULTILINE), part


@pytest.mark.parametrize("name", METHODS)
def test_a_card_names_every_setting_and_preset(name: str) -> None:
    params = METHODS[name]
    for setting in [*(params.model_fields.keys() - {"method"}), *params.PRESETS]:
        assert re.search(rf"[`\"]{setting}\b", CARDS[name]), setting


@pytest.mark.parametrize(
    ("params", "rows"),
    [
        *((params(), CARDS[name].partition("| setting |")[2]) for name, params in METHODS.items()),
        (BiLstmStudent(type="bilstm"), CARDS["distill"].partition("| setting of `student` |")[2]),
    ],
    ids=[*METHODS, "bilstm"],
)
def test_the_defaults_of_a_card_are_those_of_the_code(params: BaseModel, rows: str) -> None:
    told = list(settings_in(rows))
    assert told
    for setting, default in told:
        value: object = params
        for part in setting.split("."):
            value = getattr(value, part)
        if isinstance(value, Training):
            epochs, rate = default.split(" epochs at ")
            assert (float(epochs), float(rate)) == (value.epochs, value.learning_rate)
        elif isinstance(value, bool):
            assert default == str(value).lower()
        elif isinstance(value, int | float):
            assert float(default) == value
        elif isinstance(value, str):
            assert default.startswith(f"`{value}`")
        elif value is None:
            assert not re.match(r"[\d`]", default), f"{setting} has no such default"


def settings_in(rows: str) -> Iterator[tuple[str, str]]:
    """The settings of the first table, each with what stands beside it."""
    for line in rows.partition("\n\n")[0].splitlines()[2:]:
        names, default, _ = line.strip("| ").split(" | ", 2)
        yield from ((name, default) for name in re.findall(r"`([\w.]+)`", names))


@pytest.mark.parametrize("name", METHODS)
def test_a_card_says_what_it_serves_or_what_it_does_not(name: str) -> None:
    use = CARDS[name][CARDS[name].index("**Use it**") :].partition("\n\n")[0]
    params = METHODS[name]
    for some, every in (
        (params.ARCHITECTURES, get_args(Architecture)),
        (params.TASKS, get_args(TaskType)),
    ):
        named = {key for key in every if re.search(rf"(?<![\w-]){re.escape(WRITTEN.get(key, key))}", use)}
        assert named in (set(some), set(every) - set(some))
