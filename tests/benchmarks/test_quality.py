import os
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from benchmarks.data import Task
from benchmarks.ledger import Ledger
from benchmarks.quality import FIELDS, SETTINGS, Budget, Method, compared, main, recipe_step
from benchmarks.results import Row, amend, read, record
from compression.methods.layer_drop.params import LayerDropParams
from compression.registry import METHODS
from tests.checkpoints import make_tiny_checkpoint

KEPT_HALF: dict[str, Any] = {
    "examples_per_second": 1,
    "examples_per_second_warm": 1,
    "training_cpu_seconds": 1,
    "wall_seconds": 1,
    "cpu_seconds": 1,
    "peak_rss_bytes": 1,
    "before": 1,
    "after": 0.5,
    "retention": 0.5,
    "label_loyalty": 0.5,
    "probability_loyalty": 0.5,
}


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


@pytest.mark.parametrize(
    ("budget", "methods", "tasks", "stays"),
    [
        (Budget.SMALL, [Method.LAYER_DROP], [*Task], ("sst2", "distill")),
        (Budget.HALF, [*Method], [Task.SST2], ("mrpc", "layer_drop")),
    ],
)
def test_some_methods_or_tasks_take_their_places_in_the_table_that_is_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    budget: Budget,
    methods: list[Method],
    tasks: list[Task],
    stays: tuple[str, str],
) -> None:
    make_tiny_checkpoint(
        tmp_path / "models" / "sst2-minilm", layers=4, labels=("0", "1"), max_position_embeddings=128
    )
    (tmp_path / "data" / "sst2").mkdir(parents=True)
    rows = [("good", "1"), ("bad", "0")] * 2000
    for name in ("train.tsv", "dev.tsv"):
        lines = ["sentence\tlabel", *map("\t".join, rows)]
        (tmp_path / "data" / "sst2" / name).write_text("\n".join(lines) + "\n")
    lines = [f"{label} {text}" for text, label in rows]
    (tmp_path / "data" / "sst2" / "stsa.binary.test").write_text("\n".join(lines) + "\n")
    with record("quality", budget, "Quality", tmp_path) as draft:
        draft.rows += [row(*place, 2.0) for place in (("sst2", "layer_drop"), stays)]

    setting = SETTINGS[budget]
    ledger = Ledger(tmp_path / f"quality-{budget}.jsonl")
    for method, seed in product(methods, range(2)):
        step = recipe_step(method, setting, 1000, {})
        ledger.found({"task": "sst2", "rows": setting.rows, "step": step, "seed": seed}, lambda: KEPT_HALF)
    monkeypatch.setattr(sys, "argv", ["quality.py"])
    main(
        [budget], tasks, methods, seeds=2, theseus="{}", layer_drop="{}",
        threads=len(os.sched_getaffinity(0)), shared=tmp_path, cache=tmp_path, results=tmp_path,
    )  # fmt: skip
    found = {
        (row["task"], row["method"]): row["retention"] for row in read(tmp_path / "quality.json")[budget].rows
    }
    assert found == {stays: 2.0} | {("sst2", method): 0.5 for method in methods}


def row(task: str, method: str, retention: float) -> Row:
    return {"task": task, "method": method, "before": 0.9, "retention": retention}
