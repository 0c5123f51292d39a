"""The ONNX files of a result: written, and checked against the model they were made of."""

from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from compression.checkpoints.facts import ModelFacts
from compression.checkpoints.loading import load_model
from compression.context import TaskData
from compression.data.batches import evaluation_batches
from compression.data.encoding import Encoded
from compression.errors import ComputeError, ReasonClass
from compression.evaluation.onnx_model import OnnxModel
from compression.export.calibration import CallRanges, by_state, find_ranges
from compression.export.graph import Graph
from compression.export.int8 import Ranges, quantize
from compression.export.lean import make_lean
from compression.export.onnx_file import export_graph, write_onnx
from compression.export.tolerance import tolerance
from compression.spec import LARGEST_ONNX_BYTES, ONNX_FILES, Plan
from compression.tasks.behaviour import behaviour_of

CHECKED_SEQUENCES = 64


def write_onnx_files(
    plan: Plan,
    checkpoint: Path,
    facts: ModelFacts,
    tokenizer: PreTrainedTokenizerFast,
    data: TaskData,
    ranges: CallRanges | None,
    folder: Path,
) -> list[Path]:
    """Make `folder` and write into it what the plan asks for of a checkpoint, which may have learnt with `ranges`.

    Raises:
        ComputeError: the model does not fit into the format, or the file computes something else than the model.
    """
    folder.mkdir()
    files = {export: folder / name for export, name in plan.onnx_files.items()}
    if not files:
        return []
    if facts.parameters * 4 > LARGEST_ONNX_BYTES:
        message = "an ONNX file holds 2 GiB at the most, and this model is larger in float32: "
        message += "have no such file delivered, or make the model smaller"
        raise ComputeError("too_large_for_onnx", message, ReasonClass.USER)
    model = load_model(checkpoint, facts, torch.device("cpu"))
    graph = Graph(export_graph(model, tokenizer, facts.max_length))
    make_lean(graph)
    exact = folder / ONNX_FILES["onnx"]
    write_onnx(graph, exact)
    _check(exact, model, data.evaluation)
    if "onnx" not in files:
        exact.unlink()
    if "onnx-int8" in files:
        quantize(graph, _ranges(plan, graph, model, data, ranges))
        write_onnx(graph, files["onnx-int8"])
    return list(files.values())


def _ranges(
    plan: Plan, graph: Graph, model: PreTrainedModel, data: TaskData, learnt: CallRanges | None
) -> Ranges:
    """Where rounding is not to follow each batch."""
    if plan.quantization is None or plan.quantization.scheme != "int8-static":
        return {}
    count = plan.quantization.calibration_rows
    return by_state(graph, learnt or find_ranges(model, data.train, count, plan.seed))


def _check(path: Path, model: PreTrainedModel, rows: Encoded) -> None:
    """Hold what counts of a file's outputs against the model's on real rows, padding among them.

    What stands where a row is padded is nobody's answer, and need not be the same. Batches are as large as those that
    evaluation takes: the logits of a whole vocabulary fit into memory for few word pieces.
    """
    behaviour, file = behaviour_of(rows.task), OnnxModel(path, model.config, 1)
    sequences = np.arange(min(CHECKED_SEQUENCES, len(rows)))
    for batch in evaluation_batches(rows, model.device, sequences):
        with torch.inference_mode():
            found, expected = (behaviour.logits(either, batch).numpy() for either in (file, model))
        difference = np.abs(found - expected).max(initial=0)  # a text of one piece has nothing to predict
        if not difference <= tolerance(expected):
            message = f"results of {path.name} differ from the model's by {difference:.2g}"
            raise ComputeError("export_differs", message)
