from pathlib import Path
from statistics import mean

import pytest

from benchmarks.data import Corpus, Rows
from benchmarks.methods import RIVAL, STEPS, run_textbrewer, serves, with_budget
from benchmarks.results import RESULTS
from benchmarks.results import read as read_results
from benchmarks.runs import Material
from compression.checkpoints.facts import TaskType
from compression.registry import METHODS, RECOMMENDED
from tests.checkpoints import make_tiny_checkpoint


def material_in(folder: Path, header: tuple[str, ...], rows: Rows, task: TaskType) -> Material:
    Corpus(header, rows, rows[:16], rows[:16]).write(folder)
    return Material.prepare(make_tiny_checkpoint(folder / "model", task=task, layers=4), folder)


def test_every_method_has_a_row_and_as_many_steps() -> None:
    assert {step["method"] for step in STEPS.values()} == set(METHODS)
    for name, step in STEPS.items():
        params, usual = (
            METHODS[step["method"]].model_validate(s).trains for s in (with_budget(step, 250), step)
        )
        if usual is None or params is None:
            assert name in ("trim_vocabulary", "quantize") or name.endswith("untrained")
        else:
            assert params.steps(3200) == 250
            assert params.learning_rate == usual.learning_rate


def test_the_catalogue_recommends_the_preset_that_won() -> None:
    """On average over the tasks on which all presets of a method that have rows were measured."""
    tables = [
        {str(row["method"]): float(row["retention"] or 0) for row in part.rows}
        for part in read_results(RESULTS / "methods.json").values()
    ]
    for method, preset in RECOMMENDED.items():
        usual = METHODS[method]().model_dump()["preset"]
        presets = {
            name: step.get("preset", usual) for name, step in STEPS.items() if step["method"] == method
        }
        complete = [kept for kept in tables if presets.keys() <= kept.keys()]
        assert len(complete) > 2
        assert len(presets) > 1
        best = max(presets, key=lambda name: mean(kept[name] for kept in complete))
        assert presets[best] == preset


def test_a_method_has_no_row_where_it_does_not_serve_the_task(tmp_path: Path) -> None:
    rows = [(("good", "dog") * (i % 3 + 1), ("B-thing", "O") * (i % 3 + 1)) for i in range(64)]
    material = material_in(tmp_path, ("tokens", "tags"), rows, "token-classification")
    assert serves("theseus", material)
    assert not serves("trim_vocabulary", material)


def test_textbrewer_learns_from_the_same_rows(tmp_path: Path) -> None:
    pytest.importorskip(
        "textbrewer", reason="TextBrewer is a rival, no dependency: pip install '.[benchmarks]'"
    )
    rows = [("good dog" if i % 3 else "bad cat", "positive" if i % 3 else "negative") for i in range(64)]
    material = material_in(tmp_path, ("sentence", "label"), rows, "text-classification")
    assert serves(RIVAL, material)
    step = with_budget({"method": "distill", "student_layers": 2}, 8)
    figures = run_textbrewer(material, step, seed=0, threads=1, length=32, split="test")
    assert figures.before > 0
    assert 0 <= figures.probability_loyalty <= 1
    assert figures.training_cpu_seconds < figures.cpu_seconds
