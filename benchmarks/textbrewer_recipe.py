"""TextBrewer (Yang et al., ACL 2020 demonstrations) as its authors run it, on the rows of a run of the engine.

Its GeneralDistiller with the matches published for a student of three layers: temperature 8, the teacher's logits and
the labels with weight 1 each, mean squared differences of the hidden states 0-0, 2-1, 4-2, 6-3. AdamW, learning rate
1e-4 with warm-up over a tenth of the steps, then linear decay; rows in random order, each batch padded to its longest.
TextBrewer leaves a student's first weights to its user: here each layer is the last of its part of the teacher. The
weights after the last step are those that are measured, by the engine's own measures.

    python -m benchmarks.textbrewer_recipe SPEC.json SECONDS.json
"""

import json
import resource
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, get_linear_schedule_with_warmup

from benchmarks.runs import Figures
from compression.architectures import anatomy_of, count_parameters
from compression.checkpoints.facts import ModelFacts
from compression.checkpoints.loading import load_model, open_source
from compression.data.batches import Batch, collate
from compression.data.encoding import Encoded
from compression.evaluation.cost import measure_latency
from compression.evaluation.loyalty import loyalty
from compression.evaluation.predict import predict
from compression.methods.distill.params import DistillParams
from compression.methods.layer_choice import chosen_layers
from compression.spec import LatencyRequest, RunSpec
from compression.tasks.behaviour import behaviour_of
from compression.tasks.encoding import encode_split

LEARNING_RATE, WARM_UP = 1e-4, 0.1
TEMPERATURE = 8
CPU = torch.device("cpu")


def main(spec_file: Path, scratch: Path) -> None:
    """Train a student by the step `distill` of a spec, but TextBrewer's way; print what that took and came to."""
    started = time.perf_counter()
    spec = RunSpec.model_validate_json(spec_file.read_bytes())
    step = spec.plan.steps[0]
    assert isinstance(step, DistillParams)
    torch.set_num_threads(spec.runtime.threads or 1)
    torch.manual_seed(spec.plan.seed)
    source = open_source(spec.model)
    train, test = (
        encode_split(source, spec.dataset, split, spec.plan.task, None)
        for split in ("train", spec.plan.evaluation.split)
    )
    teacher, student = (load_model(source.folder, source.facts, CPU) for _ in range(2))
    layers = list(anatomy_of(student).layers_of(student))
    parts = step.partition(len(layers))
    anatomy_of(student).put_layers(student, [layers[i] for i in chosen_layers("module_last", parts)])
    clock, cpu = time.perf_counter(), time.process_time()
    distil(teacher, student, train, parts, step, scratch)
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    found = measured(teacher, student, test, spec, source.facts)
    examples = step.training.steps(len(train)) * step.training.batch_size
    figures = Figures(
        examples_per_second=examples / seconds,
        examples_per_second_warm=examples / seconds,
        training_cpu_seconds=cpu_seconds,
        wall_seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time(),
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        **found,
    )
    print(json.dumps(asdict(figures)))


def distil(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    rows: Encoded,
    parts: list[int],
    step: DistillParams,
    scratch: Path,
) -> None:
    steps = step.training.steps(len(rows))
    ends = np.cumsum([0, *parts])
    matches = [
        {"layer_T": int(end), "layer_S": i, "feature": "hidden", "loss": "hidden_mse", "weight": 1}
        for i, end in enumerate(ends)
    ]
    distiller = GeneralDistiller(
        TrainingConfig(output_dir=str(scratch), device="cpu", ckpt_steps=steps),
        DistillationConfig(
            temperature=TEMPERATURE,
            kd_loss_type="mse" if student.config.num_labels == 1 else "ce",
            hard_label_weight=1,
            kd_loss_weight=1,
            intermediate_matches=matches,
        ),
        teacher,
        student,
        adapted,
        adapted,
    )
    loader: DataLoader[int] = DataLoader(
        range(len(rows)),  # type: ignore[arg-type]  # any sequence will do
        batch_size=step.training.batch_size,
        shuffle=True,
        collate_fn=lambda chosen: arguments(collate(rows, np.array(chosen), CPU)),
    )
    schedule = {"num_warmup_steps": round(WARM_UP * steps), "num_training_steps": steps}
    with distiller:
        distiller.train(
            torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE),
            loader,
            num_steps=steps,
            scheduler_class=get_linear_schedule_with_warmup,
            scheduler_args=schedule,
            max_grad_norm=1.0,
            output_hidden_states=True,
        )


def arguments(batch: Batch) -> dict[str, torch.Tensor]:
    """Of both models, labels and all."""
    inputs = batch.inputs
    inputs.setdefault("attention_mask", torch.ones_like(batch.input_ids))
    labels = batch.labels
    if batch.marked is not None:
        labels = torch.full_like(batch.input_ids, -100)
        labels[batch.marked] = batch.labels
    return {**inputs, "labels": labels}


def adapted(batch: dict[str, torch.Tensor], outputs: Any) -> dict[str, Any]:
    found = {
        "logits": outputs.logits,
        "hidden": outputs.hidden_states,
        "losses": outputs.loss,
        "inputs_mask": batch["attention_mask"],
    }
    if outputs.logits.dim() == 3:
        found["logits_mask"] = batch["labels"] != -100
    return found


def measured(
    teacher: PreTrainedModel, student: PreTrainedModel, rows: Encoded, spec: RunSpec, facts: ModelFacts
) -> dict[str, Any]:
    task, metric = behaviour_of(spec.plan.task), spec.plan.evaluation.metric
    assert metric is not None
    before, after = (predict(model.eval(), rows, lambda: None) for model in (teacher, student))
    agreed = loyalty(task.agreement(before, after, rows), spec.plan.seed)
    request = LatencyRequest(batch_sizes=[1])
    ((slow,), (fast,)) = measure_latency([(teacher, rows), (student, rows)], request, lambda: None)
    scores = [task.score(metric, logits, rows) for logits in (before, after)]
    return {
        "before": scores[0],
        "after": scores[1],
        "retention": scores[1] / scores[0],
        "label_loyalty": agreed.label.value if agreed.label else None,
        "probability_loyalty": agreed.probability.value,
        "bytes": round(facts.bytes * count_parameters(student) / count_parameters(teacher)),
        "latency_ms": fast.median_ms,
        "speedup": slow.median_ms / fast.median_ms,
    }


if __name__ == "__main__":
    typer.run(main)
