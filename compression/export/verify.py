"""Checks a downloaded result: the sums of its files, and that the model in it still gives what the report says."""

import json
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pydantic import TypeAdapter
from transformers import PreTrainedModel

from compression.checkpoints.loading import Source, load_model, open_source
from compression.data.encoding import Array
from compression.errors import InputError, Problem
from compression.evaluation.onnx_model import OnnxModel
from compression.evaluation.predict import predict
from compression.events import VerifiedEvent
from compression.export.sums import check_sums
from compression.export.tolerance import tolerance
from compression.report.schema import FileResult, Report
from compression.spec import MODEL_TAR
from compression.tasks.behaviour import Behaviour, behaviour_of
from compression.tasks.resolution import Task

TASK: TypeAdapter[Task] = TypeAdapter(Task)
METRIC_TOLERANCE = 1e-3
"""As a share of the metric, and no less than that share of 1."""
ROUNDED_TOLERANCE = 0.1
"""Largest difference of a logit where layers round what they pass on, as a share of the largest logit."""


def verify(folder: Path) -> VerifiedEvent:
    """Check SHA256SUMS and evaluate every file of the model again on the rows of predictions.jsonl.

    Raises:
        InputError: a file is missing or changed, or gives other results than the report says.
    """
    files = check_sums(folder)
    report = Report.model_validate_json((folder / "report.json").read_bytes())
    plan = json.loads((folder / "manifest.json").read_bytes())["plan"]
    task = behaviour_of(TASK.validate_python(plan["task"]))
    # Bytes: what else Unicode counts as line ends may stand in a text.
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_bytes().splitlines()]
    table = pa.table({role: [row[role] for row in rows] for role in task.task.roles if role in rows[0]})
    with tempfile.TemporaryDirectory() as scratch:
        _unpack(folder / MODEL_TAR, Path(scratch))
        source = open_source(Path(scratch) / "model")
        encoded = task.encode(source.tokenizer, table)
        found = [predict(_read_back(file, folder, source), encoded, lambda: None) for file in report.files]
    headline, differences = report.files[0], []
    for file, logits in zip(report.files, found, strict=True):
        reported = [row["after"] if file is headline else row["files"][file.name] for row in rows]
        differences.append(_difference(file, task, task.recorded(logits, encoded), reported))
    width = found[0].shape[1]
    if encoded.unlabelled.any() and task.RECORDS_LOGITS:
        encoded = task.labelled(_joined([row["before"] for row in rows], width), encoded)
    if task.RECORDS_LOGITS:
        predictions = _joined([row["after"] for row in rows], width)
        _check_metric(report, task.score(report.metric, predictions, encoded))
    needs_original = report.metric == "cosine" and not task.RECORDS_LOGITS
    return VerifiedEvent(
        files=files,
        rows=len(rows),
        metric=report.metric,
        reported=report.after.metrics[report.metric].value,
        measured=None if needs_original else task.score(report.metric, found[0], encoded),
        largest_difference=max(differences),
    )


def _unpack(tar: Path, folder: Path) -> None:
    """Only files below the folder. By hand, as `filter="data"` came with Python 3.11.4 and Debian 12 has 3.11.2."""
    with tarfile.open(tar) as archive:
        for entry in archive:
            place = Path(entry.name)
            file = archive.extractfile(entry) if entry.isreg() else None
            if file is None or place.is_absolute() or ".." in place.parts:
                message = "it holds something else than files of a model"
                raise InputError(Problem("archive_not_regular", message, f"{tar.name}#{entry.name}"))
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            with (folder / place).open("wb") as copy:
                shutil.copyfileobj(file, copy)


def _read_back(file: FileResult, folder: Path, source: Source) -> PreTrainedModel | OnnxModel:
    dtype = torch.bfloat16 if file.precision == "bfloat16" else torch.float32
    model = load_model(source.folder, source.facts, torch.device("cpu"), dtype)
    return model if file.name == MODEL_TAR else OnnxModel(folder / file.name, model.config, 1)


def _difference(file: FileResult, task: Behaviour[Any], found: list[Array], recorded: list[Any]) -> float:
    """The largest between what a model gives for a row and what is written down.

    Raises:
        InputError: it is larger than rounding explains.
    """
    width = found[0].shape[-1] if found[0].ndim else 1
    numbers, reported = (task.comparable(_joined(rows, width)) for rows in (found, recorded))
    difference = float(np.abs(numbers - reported).max())
    exact = file.precision == "float32"
    explained = tolerance(reported) if exact else ROUNDED_TOLERANCE * float(np.abs(reported).max())
    if not difference <= explained:
        message = f"a result differs by {difference:.2g} from the one reported: this is not the model that was measured"
        raise InputError(Problem("results_differ", message, file.name))
    return difference


def _check_metric(report: Report, of_predictions: float) -> None:
    """Of what is recorded, not of what is found again: one answer of few rows may be another where rounding is."""
    reported = report.after.metrics[report.metric].value
    if not abs(of_predictions - reported) <= METRIC_TOLERANCE * max(1, abs(reported)):
        message = f"{report.metric} is {reported:.4f} in it, and {of_predictions:.4f} by predictions.jsonl"
        raise InputError(Problem("results_differ", message, "report.json"))


def _joined(rows: Sequence[Any], width: int) -> Array:
    """What was recorded of all rows (K, C)."""
    return np.concatenate([np.reshape(row, (-1, width)) for row in rows])
