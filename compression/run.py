"""One run: load, measure the original, apply the steps, write the result, read it back, measure it alike, report."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from compression.architectures import anatomy
from compression.checkpoints.facts import ModelFacts
from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import (
    Source,
    build_model,
    load_model,
    open_source,
    save_checkpoint,
    settle_form,
    with_tokenizer,
)
from compression.context import Context, TaskData
from compression.data.encoding import Encoded
from compression.data.summary import SplitName
from compression.errors import InputError, Problem, problems_below
from compression.evaluation.compare import Subject, compare
from compression.evaluation.known import known_or_predicted
from compression.evaluation.onnx_model import OnnxModel
from compression.evaluation.predict import predict
from compression.events import EventWriter, Phase, PhaseEvent, ProgressEvent, ResultEvent
from compression.export.artifacts import write_artifacts
from compression.export.onnx_files import write_onnx_files
from compression.machine import choose_device, compute_dtype, keep_freed_memory, use_threads
from compression.report.schema import Report
from compression.spec import MODEL_TAR, Plan, RunSpec
from compression.tasks.behaviour import behaviour_of
from compression.tasks.encoding import encode_split
from compression.tasks.resolution import splits_used
from compression.training.checkpoint import read_checkpoint


def run(spec: RunSpec, out: Path, emit: EventWriter, stop_requested: Callable[[], bool]) -> Report:
    """Compress `spec.model` as `spec.plan` says and leave `out/model` and `out/artifacts`.

    Raises:
        InputError: the model or the dataset is at fault.
        ComputeError: the work failed.
        Stopped: `stop_requested` said so; the newest checkpoint is in `out/checkpoints`.
    """
    phase = Phases(emit)
    use_threads(spec.runtime)
    keep_freed_memory()
    with phase(Phase.LOAD):
        source = open_source(spec.model)
        data = _load_data(spec, source)
        context = _context(spec, source, data, out, emit, stop_requested)
        _tell_of_cut_rows(data, spec.plan.evaluation.split, context)
        model = _model_to_start_from(source, context)
    with phase(Phase.BASELINE):
        original = (
            model if context.step_input is None else load_model(source.folder, source.facts, context.device)
        )
        before = known_or_predicted(original, data.evaluation, context)
        data = _labelled(data, original, before, context)
        data = _with_reference(data, original, before, context)
        del original
    with phase(Phase.COMPRESS):
        model, result_data = _apply_steps(spec, model, data, context)
    with phase(Phase.EXPORT):
        save_checkpoint(model, source, context.changed_tokenizer, out / "model")
        del model
        facts = inspect_checkpoint(out / "model")
        onnx_files = write_onnx_files(
            spec.plan,
            out / "model",
            facts,
            source.tokenizer,
            result_data,
            context.decisions.get("ranges"),
            out / "artifacts",
        )
    with phase(Phase.EVALUATE):
        files = _read_back(spec.plan, out / "model", facts, onnx_files, result_data.evaluation, context)
    with phase(Phase.BENCHMARK):
        original = load_model(source.folder, source.facts, context.device)
        subject = Subject(
            "original", original, source.facts.bytes, before, original, source.facts, data.evaluation
        )
        report = compare(spec, subject, files, data, context)
    with phase(Phase.REPORT):
        report = report.model_copy(update={"seconds": dict(phase.seconds)})
        write_artifacts(spec, report, context, data, before, files, out)
    metric = report.metric
    emit(
        ResultEvent(
            verdict=report.verdict,
            metric=metric,
            before=report.before.metrics[metric].value,
            after=report.after.metrics[metric].value,
            retention=report.retention,
        )
    )
    return report


class Phases:
    """Announces each phase and keeps its seconds."""

    def __init__(self, emit: EventWriter) -> None:
        self.emit = emit
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: Phase) -> Iterator[None]:
        self.emit(PhaseEvent(phase=phase))
        started = time.monotonic()
        yield
        self.seconds[phase] = time.monotonic() - started


def _load_data(spec: RunSpec, source: Source) -> TaskData:
    task, evaluation = spec.plan.task, spec.plan.evaluation
    splits = {
        split: encode_split(source, spec.dataset, split, task, spec.runtime.cache)
        for split in splits_used(evaluation.split)
        if (spec.dataset / f"{split}.parquet").exists()
    }
    for split in ("train", evaluation.split):
        if split not in splits:
            raise InputError(
                Problem("missing_split", f"the dataset has no split {split!r}", str(spec.dataset))
            )
    if evaluation.metric is None:
        raise InputError(Problem("metric_not_settled", "a plan names its metric", "/plan/evaluation/metric"))
    return TaskData(
        task, evaluation.metric, splits["train"], splits.get("validation"), splits[evaluation.split]
    )


def _tell_of_cut_rows(data: TaskData, evaluation: SplitName, context: Context) -> None:
    behaviour, most = behaviour_of(data.task), context.source.facts.max_length
    splits = {"train": data.train, "validation": data.selection, evaluation: data.evaluation}
    found = [
        f"{part} of {whole} {what} of {split} ({part / whole:.1%})"
        for split, rows in splits.items()
        if rows is not None and rows.cut.any()
        for what, (part, whole) in behaviour.cut_off(rows).items()
    ]
    if found:
        longer, cure = behaviour.limit(most)
        context.warn(
            "rows_cut",
            f"{longer}, and nothing beyond that is learnt or measured: {', '.join(found)}. {cure}",
        )


def _labelled(
    data: TaskData, original: PreTrainedModel, before: npt.NDArray[np.float32], context: Context
) -> TaskData:
    """Rows without labels get the original's answers for labels."""
    task = behaviour_of(data.task)

    def complete(rows: Encoded) -> Encoded:
        if not rows.unlabelled.any():
            return rows
        known = before if rows is data.evaluation else known_or_predicted(original, rows, context)
        return task.labelled(known, rows)

    evaluation = complete(data.evaluation)
    selection = data.selection
    if selection is not None:
        selection = evaluation if selection is data.evaluation else complete(selection)
    if data.task.judged_by == "original":
        context.warn(
            "no_labels",
            "The evaluation rows have no labels: nothing is known of how good either model is, only how well the "
            "compressed one agrees with the original, whose answers stand in for labels.",
        )
    return replace(data, train=complete(data.train), selection=selection, evaluation=evaluation)


def _with_reference(
    data: TaskData, original: PreTrainedModel, before: npt.NDArray[np.float32], context: Context
) -> TaskData:
    if data.selection is None or not context.total_steps:
        return data
    same = data.selection is data.evaluation
    reference = before if same else known_or_predicted(original, data.selection, context)
    return replace(data, reference=reference)


def _context(
    spec: RunSpec,
    source: Source,
    data: TaskData,
    out: Path,
    emit: EventWriter,
    stop_requested: Callable[[], bool],
) -> Context:
    device = choose_device(spec.runtime)
    resumed = read_checkpoint(spec.runtime.resume_from) if spec.runtime.resume_from else None
    context = Context(
        source=source,
        device=device,
        dtype=compute_dtype(device),
        seed=spec.plan.seed,
        emit=emit,
        stop_requested=stop_requested,
        checkpoint_folder=out / "checkpoints",
        checkpoint_seconds=spec.runtime.checkpoint_seconds,
        total_steps=sum(step.trains.steps(len(data.train)) for step in spec.plan.steps if step.trains),
        cache=spec.runtime.cache,
        resumed=resumed,
        models=spec.models,
        datasets=spec.datasets,
    )
    if resumed is not None:
        context.recipe_step = resumed.recipe_step
        context.warnings = resumed.state["warnings"]
        context.notes = resumed.state["notes"]
        context.decisions = resumed.state["decisions"]
        context.curves = {
            name: [(s, v) for s, v in points] for name, points in resumed.state["curves"].items()
        }
        context.step_input = resumed.section("input") or None
        context.step_config = resumed.state["config"]
        context.changed_tokenizer = resumed.state["tokenizer"]
    return context


def _model_to_start_from(source: Source, context: Context) -> PreTrainedModel:
    """The source, or what the finished steps of an interrupted run made of it."""
    if context.step_input is None or context.step_config is None:
        return load_model(source.folder, source.facts, context.device)
    own = anatomy(context.step_config["model_type"], source.facts.task)
    model = build_model(own, own.config_class.from_dict(context.step_config))
    model.load_state_dict(context.step_input)
    return cast(PreTrainedModel, model.eval().to(context.device))


def _apply_steps(
    spec: RunSpec, model: PreTrainedModel, data: TaskData, context: Context
) -> tuple[PreTrainedModel, TaskData]:
    """The model that the steps make, and the rows as its tokenizer encodes them."""
    resumed_at, tokenizer = context.recipe_step, None
    for index, params in enumerate(spec.plan.steps):
        steps = params.trains.steps(len(data.train)) if params.trains else 0
        if index >= resumed_at:
            if index > resumed_at:
                model = _begin_step(index, model, context)
            data, tokenizer = _encoded_anew(spec, data, tokenizer, context)
            # The registry's one list names the methods; each lives in the folder of its name.
            with problems_below(f"/steps/{index}"):
                model = import_module(f"compression.methods.{params.method}.method").run(
                    model, data, params, context
                )
            context.resumed = None
        context.done += steps
    context.emit(ProgressEvent(step=context.total_steps, total=context.total_steps))
    data, _ = _encoded_anew(spec, data, tokenizer, context)
    return model, data


def _encoded_anew(
    spec: RunSpec, data: TaskData, tokenizer: str | None, context: Context
) -> tuple[TaskData, str | None]:
    """The rows for the model at hand, where `tokenizer`, which encoded `data`, is not its own any more."""
    if context.changed_tokenizer is None or context.changed_tokenizer == tokenizer:
        return data, tokenizer
    source = with_tokenizer(context.source, context.changed_tokenizer)
    anew = replace(_load_data(spec, source), reference=data.reference)
    return with_labels_of(data, anew), context.changed_tokenizer


def with_labels_of(known: TaskData, anew: TaskData) -> TaskData:
    """Rows that another tokenizer has encoded, with the labels that they had; each row has one output as before."""
    selection = anew.selection
    if selection is not None and known.selection is not None:
        selection = replace(selection, labels=known.selection.labels)
    evaluation = (
        selection
        if selection is not None and anew.selection is anew.evaluation
        else replace(anew.evaluation, labels=known.evaluation.labels)
    )
    return replace(
        anew, train=replace(anew.train, labels=known.train.labels), selection=selection, evaluation=evaluation
    )


def _read_back(
    plan: Plan, checkpoint: Path, facts: ModelFacts, onnx_files: list[Path], rows: Encoded, context: Context
) -> list[Subject]:
    """Every delivered file with its results on the evaluation rows, first the one that the report is about."""
    in_bfloat16 = plan.quantization is not None and plan.quantization.scheme == "bfloat16"
    dtype = torch.bfloat16 if in_bfloat16 else torch.float32
    model = load_model(checkpoint, facts, context.device, dtype)
    delivered: dict[str, tuple[PreTrainedModel | OnnxModel, int]] = {MODEL_TAR: (model, facts.bytes)}
    for path in onnx_files:
        delivered[path.name] = OnnxModel(path, model.config, torch.get_num_threads()), path.stat().st_size
    return [
        Subject(name, run, size, predict(run, rows, context.stop_if_requested), model, facts, rows)
        for name, (run, size) in sorted(delivered.items(), key=lambda item: item[0] != plan.headline)
    ]


def _begin_step(index: int, model: PreTrainedModel, context: Context) -> PreTrainedModel:
    """What the steps before made is the input of this one: an interruption must not cost them.

    The model is built anew, as after an interruption: training leaves modules in it that round differently.
    """
    context.recipe_step = index
    context.step_input = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    settle_form(model)
    context.step_config = model.config.to_dict()
    context.decisions = {}
    context.save(0, {}, {})
    return _model_to_start_from(context.source, context)
