"""Measures the original and the result alike and puts the report together."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from compression.architectures import anatomy_of, count_parameters
from compression.checkpoints.facts import ModelFacts
from compression.context import Context, TaskData
from compression.data.encoding import Encoded
from compression.evaluation.cost import count_multiply_adds, measure_latency, peak_memory, typical_inputs
from compression.evaluation.loyalty import loyalty
from compression.evaluation.onnx_model import OnnxModel
from compression.machine import describe_machine
from compression.report.build import (
    check_constraints,
    difference_of,
    flipped_rows,
    measured_metrics,
    paired_test,
    retention_of,
    thinned,
)
from compression.report.schema import FileResult, Latency, Loyalty, Measured, ModelResult, Report
from compression.spec import ONNX_FILES, Plan, RunSpec
from compression.tasks.behaviour import behaviour_of


@dataclass(frozen=True, slots=True)
class Subject:
    """A model as read back from a file, and its logits (K, C) on the evaluation rows."""

    name: str
    model: PreTrainedModel | OnnxModel
    bytes: int
    logits: npt.NDArray[np.float32]
    checkpoint: PreTrainedModel
    """The model itself, or what the ONNX file was made of."""
    facts: ModelFacts
    rows: Encoded
    """The evaluation rows as the model's tokenizer encodes them."""


def compare(
    spec: RunSpec, original: Subject, files: list[Subject], data: TaskData, context: Context
) -> Report:
    """The report, which is about the first of the files; `seconds` are those by phase so far.

    ONNX files run on the CPU: where there are any, all models are timed there.
    """
    plan, task, rows, headline = spec.plan, behaviour_of(data.task), data.evaluation, files[0]
    in_onnx = any(isinstance(file.model, OnnxModel) for file in files)
    device = torch.device("cpu") if in_onnx else context.device
    subjects = [original, *files]
    latencies = measure_latency(
        [(_ready(subject, device, plan), subject.rows) for subject in subjects],
        plan.evaluation.latency,
        context.stop_if_requested,
    )
    metrics = [
        measured_metrics(
            task, subject.logits, subject.rows, plan.evaluation.metrics or plan.task.metrics, plan.seed
        )
        for subject in subjects
    ]
    agreements = [task.agreement(original.logits, file.logits, rows) for file in files]
    loyalties = [loyalty(agreement, plan.seed) for agreement in agreements]
    before = _model_result(spec, original, metrics[0], latencies[0])
    after = _model_result(spec, headline, metrics[1], latencies[1])
    retention = retention_of(data.metric, before, after)
    constraints, verdict = check_constraints(plan.constraints, before, after, retention, loyalties[0])
    flipped, flipped_total = flipped_rows(task, agreements[0], original.logits, headline.logits, rows)
    return Report(
        job_id=spec.runtime.job_id,
        job_name=spec.runtime.job_name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        recipe=[_in_words(step.method, step.model_dump(exclude_defaults=True)) for step in plan.steps],
        task=plan.task.type,
        metric=data.metric,
        split=plan.evaluation.split,
        rows=rows.table.num_rows,
        seed=plan.seed,
        before=before,
        after=after,
        files=list(map(_file_result, files, metrics[1:], loyalties, latencies[1:])),
        retention=retention,
        difference=difference_of(
            task,
            data.metric,
            (original.logits, original.rows),
            (headline.logits, headline.rows),
            plan.seed,
        ),
        size_ratio=after.bytes / before.bytes,
        speedup={
            b.batch_size: b.median_ms / a.median_ms
            for b, a in zip(before.latency, after.latency, strict=True)
        },
        paired_test=paired_test(task, original.logits, headline.logits, rows),
        loyalty=loyalties[0],
        flipped=flipped,
        flipped_total=flipped_total,
        curves=thinned(context.curves),
        constraints=constraints,
        verdict=verdict,
        warnings=context.warnings,
        notes=context.notes,
        seconds={},
        machine=describe_machine(device),
    )


def _ready(subject: Subject, device: torch.device, plan: Plan) -> PreTrainedModel | OnnxModel:
    """A model to be timed; a session of ONNX Runtime has the number of its threads from the start."""
    if isinstance(subject.model, OnnxModel):
        return subject.model.reopened(plan.evaluation.latency.threads)
    return cast(PreTrainedModel, subject.model.to(device))  # type: ignore[arg-type]


def _file_result(
    file: Subject, metrics: dict[str, Measured], agreement: Loyalty, latency: list[Latency]
) -> FileResult:
    return FileResult(
        name=file.name,
        runtime="ONNX Runtime" if isinstance(file.model, OnnxModel) else "torch",
        precision=_precision(file),
        bytes=file.bytes,
        metrics=metrics,
        loyalty=agreement,
        latency=latency,
    )


def _precision(file: Subject) -> Literal["float32", "bfloat16", "int8"]:
    if file.name == ONNX_FILES["onnx-int8"]:
        return "int8"
    return "bfloat16" if file.model.dtype is torch.bfloat16 else "float32"


def _model_result(
    spec: RunSpec, subject: Subject, metrics: dict[str, Measured], latency: list[Latency]
) -> ModelResult:
    plan, rows, checkpoint = spec.plan, subject.rows, subject.checkpoint
    model = _ready(subject, checkpoint.device, plan)
    largest = typical_inputs(rows, max(plan.evaluation.latency.batch_sizes), model.device)
    return ModelResult(
        metrics=metrics,
        classes=behaviour_of(rows.task).classes(subject.logits, rows),
        layers=subject.facts.layers,
        hidden_size=subject.facts.hidden_size,
        parameters=count_parameters(checkpoint),
        embedding_parameters=sum(
            count_parameters(table) for table in anatomy_of(checkpoint).embedding_tables_of(checkpoint)
        ),
        nonzero_parameters=sum(int(parameter.count_nonzero()) for parameter in checkpoint.parameters()),
        plain=subject.facts.plain,
        bytes=subject.bytes,
        flops=count_multiply_adds(checkpoint, rows),
        latency=latency,
        peak_memory_bytes=peak_memory(model, largest),
    )


def _in_words(method: str, settings: dict[str, object]) -> str:
    """`theseus, successor_layers 3, training.epochs 2` of a step's settings that differ from the defaults."""
    words = [method]
    for name, value in settings.items():
        if isinstance(value, dict):
            words += [f"{name}.{key} {inner}" for key, inner in value.items()]
        else:
            words.append(f"{name} {value}")
    return ", ".join(words)
