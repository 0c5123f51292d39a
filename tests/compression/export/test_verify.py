"""A downloaded result is held against what was written down of it, whatever its sums say."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from compression.errors import InputError
from compression.export.sums import ALWAYS_THERE, SUMS, check_sums, write_sums
from compression.export.verify import verify
from tests.compression.jobs import make_spec, predictions_of, run_to_end, write_lines

STEP = {"method": "layer_drop", "keep_layers": 2, "recovery": None}


def write_predictions(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Others than the result's, with sums that fit."""
    write_lines(folder / "predictions.jsonl", rows)
    (folder / SUMS).unlink()
    write_sums(folder)


def test_a_changed_logit_is_found_though_the_sums_fit(tmp_path: Path) -> None:
    run_to_end(make_spec(tmp_path, [STEP]), tmp_path / "out")
    folder = tmp_path / "out" / "artifacts"
    assert verify(folder).largest_difference < 1e-6

    rows = predictions_of(tmp_path / "out")
    rows[-1]["after"][0] += 0.01
    write_predictions(folder, rows)
    with pytest.raises(InputError, match=r"differs by 0\.01 ") as caught:
        verify(folder)
    (problem,) = caught.value.problems
    assert (problem.code, problem.place) == ("results_differ", "model.tar")


def test_texts_may_hold_what_unicode_counts_as_line_ends(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": f"good{end}film", "label": label}
        for end in "\u2028\u2029\x85\x0c"
        for label in ("negative", "positive")
    ]
    run_to_end(make_spec(tmp_path, [STEP], rows={"validation": rows}), tmp_path / "out")
    assert verify(tmp_path / "out" / "artifacts").rows == 8


def test_scores_of_any_size_may_differ_by_a_share_of_it(tmp_path: Path) -> None:
    """The files of ONNX from the model's as well: the last places of such scores are far above 0.001."""
    spec = make_spec(tmp_path, [STEP], regression=True, exports=["onnx"])
    weights = load_file(spec.model / "model.safetensors")
    weights["classifier.weight"] *= 1e7
    save_file(weights, spec.model / "model.safetensors", metadata={"format": "pt"})
    run_to_end(spec, tmp_path / "out")

    folder, rows = tmp_path / "out" / "artifacts", predictions_of(tmp_path / "out")
    largest = max(abs(row["after"][0]) for row in rows)
    assert largest > 1e6
    rows[-1]["after"][0] += 5e-5 * largest
    write_predictions(folder, rows)
    assert verify(folder).largest_difference == pytest.approx(5e-5 * largest, rel=0.01)
    rows[-1]["after"][0] += 1e-4 * largest
    write_predictions(folder, rows)
    with pytest.raises(InputError, match="differs by"):
        verify(folder)


def test_a_metric_that_the_predictions_do_not_give_is_found_though_the_sums_fit(tmp_path: Path) -> None:
    run_to_end(make_spec(tmp_path, [STEP]), tmp_path / "out")
    folder = tmp_path / "out" / "artifacts"
    report = json.loads((folder / "report.json").read_text("utf-8"))
    report["after"]["metrics"]["accuracy"]["value"] += 1 / 24
    (folder / "report.json").write_text(json.dumps(report), "utf-8")
    (folder / SUMS).unlink()
    write_sums(folder)
    with pytest.raises(InputError, match=r"by predictions\.jsonl") as caught:
        verify(folder)
    assert [(p.code, p.place) for p in caught.value.problems] == [("results_differ", "report.json")]


def test_sums_that_leave_out_what_every_result_has_are_found(tmp_path: Path) -> None:
    for name in ALWAYS_THERE:
        (tmp_path / name).write_text(name)
    write_sums(tmp_path)
    assert check_sums(tmp_path) == 4

    (tmp_path / SUMS).write_text("")
    with pytest.raises(InputError) as caught:
        check_sums(tmp_path)
    assert [(problem.code, problem.place) for problem in caught.value.problems] == [
        ("missing_file", name) for name in ALWAYS_THERE
    ]
