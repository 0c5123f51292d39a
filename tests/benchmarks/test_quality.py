import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.quality import FIELDS, SETTINGS, Budget, Method, compared, recipe_step
from benchmarks.results import Row, amend, read, record
from compression.methods.layer_drop.params import LayerDropParams
from compression.registry import METHODS
from tests.checkpoints import make_tiny_checkpoint


@pytest.mark.parametrize("method", FIELDS)
@pytest.mark.parametrize("budget", Budget)
def test_methods_get_the_same_budget_and_keep_their_own_defaults(method: Method, budget: Budget) -> None:
    setting = SETTINGS[budget]
    params = METHODS[method].model_validate(recipe_step(method, setting, 200, {}))
    trained, usual = params.trains, METHODS[method]().trains
    assert trained is not None
    assert usual is not None
    assert trained.steps(3200) == (setting.steps or 200)
    assert trained.learning_rate == usual.learning_rate
    assert getattr(params, FIELDS[method][0]) == setting.layers


def test_given_settings_stand_beside_the_budget() -> None:
    given = {"strategy": "bottom", "recovery": {"learning_rate": 3e-4}}
    params = LayerDropParams.model_validate(
        recipe_step(Method.LAYER_DROP, SETTINGS[Budget.SMALL], 1000, given)
    )
    assert params.strategy == "bottom"
    assert params.recovery is not None
    assert params.recovery.learning_rate == 3e-4
    assert params.recovery.max_steps == 250


def test_theseus_is_held_against_all_others_on_each_task_and_rows_measured_later_count(
    tmp_path: Path,
) -> None:
    setting = SETTINGS[Budget.HALF]
    with record("quality", "half", setting.title, tmp_path) as draft:
        for task, kept in (("sst2", (0.9, 0.95, 0.8)), ("stsb", (0.8, 0.7, 0.6))):
            names = "theseus, distilled", "distill, growing", "layer_drop"
            draft.rows += [row(task, name, share) for name, share in zip(names, kept, strict=True)]
        draft.targets += compared(setting, draft.table, "theseus, distilled")
    with amend("quality", "half", tmp_path) as draft:
        draft.rows.append(row("sst2", "theseus, distilled", 0.96))
        draft.targets += compared(setting, draft.table, "theseus, distilled")
        assert compared(setting, draft.rows[:0], "theseus, distilled") == []
    part = read(tmp_path / "quality.json")["half"]
    assert [(found["task"], found["retention"]) for found in part.rows] == [
        ("sst2", 0.96), ("sst2", 0.95), ("sst2", 0.8), ("stsb", 0.8), ("stsb", 0.7), ("stsb", 0.6),
    ]  # fmt: skip
    assert part.later[0].rows == ["sst2, theseus, distilled"]
    assert {target.what: target.measured for target in part.targets} == pytest.approx(
        {
            "retention, theseus, distilled: mean of sst2, stsb": 0.88,
            "retention, theseus, distilled: minus distill, growing, sst2": 0.01,
            "retention, theseus, distilled: minus layer_drop, sst2": 0.16,
            "retention, theseus, distilled: minus distill, growing, stsb": 0.1,
            "retention, theseus, distilled: minus layer_drop, stsb": 0.2,
        }
    )


def test_one_method_on_one_task_takes_its_place_in_the_table_that_is_there(tmp_path: Path) -> None:
    make_tiny_checkpoint(
        tmp_path / "models" / "sst2-minilm", layers=4, labels=("0", "1"), max_position_embeddings=128
    )
    (tmp_path / "data" / "sst2").mkdir(parents=True)
    rows = [("the movie was good", label) for label in "01"] * 16  # half of which any model knows
    for name in ("train.tsv", "dev.tsv"):
        lines = ["sentence\tlabel", *map("\t".join, rows)]
        (tmp_path / "data" / "sst2" / name).write_text("\n".join(lines) + "\n")
    lines = [f"{label} {text}" for text, label in rows]
    (tmp_path / "data" / "sst2" / "stsa.binary.test").write_text("\n".join(lines) + "\n")
    with record("quality", "half", "Quality", tmp_path) as draft:
        draft.rows += [row(task, "layer_drop", 2.0) for task in ("sst2", "mrpc")]
    command = (
        "benchmarks.quality --only half --tasks sst2 --methods layer_drop --seeds 2 --steps 20 --threads 1"
    )
    places = ["--shared", str(tmp_path), "--cache", str(tmp_path), "--results", str(tmp_path)]
    subprocess.run([sys.executable, "-m", *command.split(), *places], check=True)
    part = read(tmp_path / "quality.json")["half"]
    (mrpc, sst2) = sorted(part.rows, key=lambda found: str(found["task"]))
    assert mrpc["retention"] == 2.0
    assert float(sst2["retention"] or 0) < 2
    assert [(later.rows, later.command) for later in part.later] == [
        (["sst2, layer_drop"], f"python -m {command}")
    ]


def row(task: str, method: str, retention: float) -> Row:
    return {"task": task, "method": method, "before": 0.9, "retention": retention}
