from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from benchmarks.delivered import RETENTION, SIZE, compare_quality, in_float32
from benchmarks.results import Draft
from tests.compression.report.sample import sample_report


def test_a_copy_in_float32_holds_the_same_numbers_in_twice_the_bytes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text("{}")
    weights = np.linspace(-1, 1, 1000, dtype=np.float16)
    save_file({"weight": weights}, source / "model.safetensors")
    for _ in range(2):  # it may be there from the time before
        copy = in_float32(source, tmp_path / "copy")
    np.testing.assert_array_equal(load_file(copy / "model.safetensors")["weight"], weights.astype(np.float32))
    assert (copy / "config.json").read_text() == "{}"


def test_promises_are_held_against_the_file_that_the_report_is_about() -> None:
    first = sample_report()
    files = [first.files[-1], *first.files[:-1]]
    report = first.model_copy(update={"files": files, "after": first.after, "size_ratio": 0.19})
    other = report.model_copy(update={"retention": 0.98})
    draft = Draft()
    compare_quality([report, other], draft)
    assert [row["file"] for row in draft.rows] == [
        "original, torch float32",
        "model.int8.onnx, ONNX Runtime int8",
        "model.tar, torch float32",
        "model.onnx, ONNX Runtime float32",
    ]
    kept, size = draft.targets
    assert kept.measured == (0.9936 + 0.98) / 2
    assert (kept.at_least, size.at_most) == (RETENTION, SIZE)
    assert size.measured == 0.19
