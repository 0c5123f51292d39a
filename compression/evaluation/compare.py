"""Measures the original and the result alike and puts the report together."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedModel

from compression.architectures import anatomy_of, count_parameters
from compression.checkpoints.facts import ModelFacts
from compression.context import Context, TaskData
from compression.data.encoding import Encoded
from compression.evaluation.cost import count_multiply_adds, measure_latency, peak_memory, typical_inputs
from compression.evaluation.loyalty import loyalty
from compression.machine import describe_machine
from compression.report.build import (
    check_constraints,
    flipped_rows,
    measured_metrics,
    paired_test,
    thinned,
)
from compression.report.schema import Latency, ModelResult, Report
from compression.spec import RunSpec
from compression.tasks.behaviour import behaviour_of


@dataclass(frozen=True, slots=True)
class Comparison:
    """The two models as read from their files, and their logits (K, C) on the evaluation rows."""

    original: PreTrainedModel
    result: PreTrainedModel
    original_facts: ModelFacts
    result_facts: ModelFacts
    original_rows: Encoded
    result_rows: Encoded
    """The evaluation rows as the tokenizer of each encodes them."""
    before: npt.NDArray[np.float32]
    after: npt.NDArray[np.float32]


def compare(spec: RunSpec, models: Comparison, data: TaskData, context: Context) -> Report:
    """The report; `seconds` are those by phase so far."""
    plan, task, rows = spec.plan, behaviour_of(data.task), data.evaluation
    pair = (models.original, models.original_rows), (models.result, models.result_rows)
    latencies = measure_latency(pair, plan.evaluation.latency, context.stop_if_requested)
    before, after = (
        _model_result(spec, model, facts, rows, logits, latency)
        for model, facts, rows, logits, latency in (
            (models.original, models.original_facts, models.original_rows, models.before, latencies[0]),
            (models.result, models.result_facts, models.result_rows, models.after, latencies[1]),
        )
    )
    base = before.metrics[data.metric].value
    retention = after.metrics[data.metric].value / base if base > 0 else None
    agreement = task.agreement(models.before, models.after, rows)
    loyal = loyalty(agreement, plan.seed)
    constraints, verdict = check_constraints(plan.constraints, before, after, retention, loyal)
    flipped, flipped_total = flipped_rows(task, agreement, models.before, models.after, rows)
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
        retention=retention,
        size_ratio=after.bytes / before.bytes,
        speedup={b.batch_size: b.median_ms / a.median_ms for b, a in zip(*latencies, strict=True)},
        paired_test=paired_test(task, models.before, models.after, rows),
        loyalty=loyal,
        flipped=flipped,
        flipped_total=flipped_total,
        curves=thinned(context.curves),
        constraints=constraints,
        verdict=verdict,
        warnings=context.warnings,
        notes=context.notes,
        seconds={},
        machine=describe_machine(context.device),
    )


def _model_result(
    spec: RunSpec,
    model: PreTrainedModel,
    facts: ModelFacts,
    rows: Encoded,
    logits: npt.NDArray[np.float32],
    latency: list[Latency],
) -> ModelResult:
    plan, task = spec.plan, behaviour_of(rows.task)
    largest = typical_inputs(rows, max(plan.evaluation.latency.batch_sizes), model.device)
    return ModelResult(
        metrics=measured_metrics(task, logits, rows, plan.task.metrics, plan.seed),
        classes=task.classes(logits, rows),
        layers=facts.layers,
        hidden_size=facts.hidden_size,
        parameters=count_parameters(model),
        embedding_parameters=count_parameters(model.get_submodule(anatomy_of(model).embeddings)),
        bytes=facts.bytes,
        flops=count_multiply_adds(model, rows),
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
