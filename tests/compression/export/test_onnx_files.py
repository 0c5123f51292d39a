"""The ONNX files of a job: the same model, for any rows, in one file that says nothing of where it was made."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import load_model, open_source
from compression.data.ingest import SUMMARY_FILE
from compression.data.summary import DatasetSummary
from compression.errors import ComputeError, InputError
from compression.evaluation import cost
from compression.evaluation.onnx_model import OnnxModel
from compression.export import onnx_files
from compression.export.graph import Graph
from compression.export.onnx_file import export_graph, write_onnx
from compression.export.sums import SUMS
from compression.export.verify import verify
from compression.spec import Export, Recipe, RunSpec, resolve
from tests.checkpoints import MAX_LENGTH, make_tiny_checkpoint
from tests.compression.jobs import make_spec, run_to_end

STEP = {"method": "layer_drop", "keep_layers": 2, "recovery": None}
NAMES = ["model.onnx", "model.int8.onnx"]
ARCHITECTURES: tuple[Architecture, ...] = ("bert", "roberta", "distilbert")
"""The others: tests/compression/test_architectures.py."""


def job(folder: Path, architecture: Architecture = "bert", task: TaskType = "text-classification") -> RunSpec:
    pairs = architecture == "bert" and task == "text-classification"
    exports = ["onnx", "onnx-int8"]
    return make_spec(folder, [STEP], architecture=architecture, task=task, pairs=pairs, exports=exports)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job that made both files."""
    folder = tmp_path_factory.mktemp("job")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "SECONDS", 0.0)
        run_to_end(job(folder), folder / "out")
    return folder


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        *((a, "text-classification") for a in ARCHITECTURES),
        ("distilbert", "token-classification"),
        ("bert", "question-answering"),
    ],
)
def test_files_give_what_the_checkpoint_gives(
    tmp_path: Path, architecture: Architecture, task: TaskType
) -> None:
    report = run_to_end(job(tmp_path, architecture, task), tmp_path / "out")
    artifacts = tmp_path / "out" / "artifacts"
    assert [file.name for file in report.files] == ["model.tar", "model.onnx", "model.int8.onnx"]
    assert [[latency.batch_size for latency in file.latency] for file in report.files] == [[1, 32]] * 3
    assert verify(artifacts).largest_difference < 1e-6

    checkpoint = tmp_path / "out" / "model"
    model = load_model(checkpoint, inspect_checkpoint(checkpoint), torch.device("cpu"))
    draw = torch.Generator().manual_seed(0)
    for rows, length in ((1, 1), (1, 9), (3, 7), (32, 12), (2, MAX_LENGTH)):
        inputs = {"input_ids": torch.randint(5, 100, (rows, length), generator=draw)}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        inputs["attention_mask"][0, (length + 1) // 2 :] = 0
        with torch.inference_mode():
            expected = model(**inputs)
        for name, tolerance in zip(NAMES, (1e-5, 0.05), strict=True):
            for output, found in vars(OnnxModel(artifacts / name, model.config, 1)(**inputs)).items():
                torch.testing.assert_close(found, expected[output], atol=tolerance, rtol=0)


def test_attention_moves_no_heads_and_the_last_layer_computes_one_position(done: Path) -> None:
    nodes = onnx.load(done / "out" / "artifacts" / "model.onnx").graph.node
    kinds = [node.op_type for node in nodes]
    assert kinds.count("Attention") == 2
    assert {"Transpose", "Reshape"}.isdisjoint(kinds)
    narrowed = next(
        i for i, node in enumerate(nodes) if node.op_type == "Gather" and "first" in node.input[1]
    )
    assert kinds[narrowed:].count("LayerNormalization") == 2
    assert kinds[narrowed:].count("Gelu") == 1


def test_same_model_same_bytes_that_tell_nothing_of_the_machine(done: Path, tmp_path: Path) -> None:
    run_to_end(job(tmp_path), tmp_path / "out")
    for name in NAMES:
        first, again = ((folder / "out" / "artifacts" / name).read_bytes() for folder in (done, tmp_path))
        assert first == again
        assert b".py" not in first
        assert b"/" not in b"".join(
            node.SerializeToString() for node in onnx.load_from_string(first).graph.node
        )


def test_model_of_few_pieces_is_exported_and_left_in_evaluation_mode(tmp_path: Path) -> None:
    """Fewer than the example has that others are exported with."""
    source = open_source(make_tiny_checkpoint(tmp_path, layers=1, task="sentence-similarity"))
    model = load_model(source.folder, source.facts, torch.device("cpu"))
    graph = Graph(export_graph(model, source.tokenizer, max_length=4))
    assert not any(module.training for module in model.modules())

    write_onnx(graph, tmp_path / "model.onnx")
    file = OnnxModel(tmp_path / "model.onnx", model.config, 1)
    for length in (1, 4):
        pieces = torch.full((3, length), 7)
        with torch.inference_mode():
            expected = model(input_ids=pieces).last_hidden_state
        torch.testing.assert_close(file(input_ids=pieces).last_hidden_state, expected, atol=1e-5, rtol=0)


def test_a_file_that_computes_something_else_ends_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damage(graph: Graph) -> None:
        name = next(name for name in graph.constants if name.endswith("LayerNorm.weight"))
        graph.constants[name] = graph.constants[name] * np.float32(1.1)

    monkeypatch.setattr(onnx_files, "make_lean", damage)
    with pytest.raises(ComputeError, match="differ from the model's") as caught:
        run_to_end(job(tmp_path), tmp_path / "out")
    assert caught.value.code == "export_differs"


XLM_R_LARGE = {
    "layers": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "vocabulary_size": 250_002,
    "pieces": 250_002,
}


@pytest.mark.parametrize(
    ("steps", "exports", "place"),
    [
        ([{"method": "prune"}], ["onnx"], "/exports"),
        ([{"method": "prune"}, {"method": "quantize"}], ["safetensors"], "/steps/1/scheme"),
        ([{"method": "prune"}], ["safetensors"], None),
        ([{"method": "layer_drop", "keep_layers": 12}], ["onnx"], None),
        ([{"method": "trim_vocabulary"}], ["onnx"], None),
        ([{"method": "low_rank"}], ["onnx-int8"], None),
    ],
)
def test_a_result_that_no_file_can_hold_is_refused_before_any_compute(
    tmp_path: Path, steps: list[dict[str, Any]], exports: list[Export], place: str | None
) -> None:
    spec = make_spec(tmp_path, [STEP], architecture="xlm-roberta")
    facts = inspect_checkpoint(spec.model).model_copy(update=XLM_R_LARGE)
    summary = DatasetSummary.model_validate_json((spec.dataset / SUMMARY_FILE).read_bytes())
    recipe = Recipe.model_validate({"steps": steps, "exports": exports})
    if place is None:
        resolve(recipe, facts, summary)
        return
    with pytest.raises(InputError, match="make the model smaller") as refused:
        resolve(recipe, facts, summary)
    assert [(p.code, p.place) for p in refused.value.problems] == [("too_large_for_onnx", place)]


@pytest.mark.parametrize("name", NAMES)
def test_verify_finds_the_file_of_another_model(done: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "artifacts"
    shutil.copytree(done / "out" / "artifacts", folder)
    model = onnx.load(folder / name)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("LayerNorm.bias"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.5), bias.name))
    onnx.save(model, folder / name)
    with pytest.raises(InputError, match="the content is not what was written"):
        verify(folder)
    sums = (folder / SUMS).read_text().splitlines(keepends=True)
    (folder / SUMS).write_text("".join(line for line in sums if name not in line))
    with pytest.raises(InputError, match="this is not the model that was measured"):
        verify(folder)


def test_without_onnx_there_is_one_file(tmp_path: Path) -> None:
    report = run_to_end(make_spec(tmp_path, [STEP]), tmp_path / "out")
    assert [file.name for file in report.files] == ["model.tar"]
    row = json.loads((tmp_path / "out" / "artifacts" / "predictions.jsonl").read_text().splitlines()[0])
    assert row["files"] == {}
