"""What a job will take: a guess for an order of magnitude, which says what it assumes."""

from math import ceil

from api.jobs.schemas import Estimate, StepEstimate
from compression.checkpoints.facts import ModelFacts
from compression.data.summary import DatasetSummary
from compression.methods.shape import ModelShape
from compression.registry import StepParams
from compression.spec import Plan
from compression.tasks.reading import PIECES_PER_WORD, Reading

FLOPS_PER_SECOND = {"cpu": 1e11, "gpu": 2e13}
PASSES_PER_TRAINED_ROW = 3
"""In forward passes: the backward pass costs two."""
BYTES_PER_PARAMETER = 24
"""In float32: the original, the copy in training, its gradients, Adam's two moments, and the best state so far."""
ACTIVATIONS_PER_LAYER = 16
"""Numbers of the hidden size that a layer keeps for the backward pass, for each word piece."""
RUNTIME_BYTES = 600_000_000


def estimate(plan: Plan, model: ModelFacts, dataset: DatasetSummary, queue: str) -> Estimate:
    """How the steps change the model, and what they, their validations and the two evaluations take."""
    task, splits = plan.task, dataset.splits
    learnt = task.reading(splits["train"], learns=True)
    measured = task.reading(splits[plan.evaluation.split], learns=False)
    selection = task.reading(splits["validation"], learns=False) if "validation" in splits else None
    shape = ModelShape.of(model)
    flops = _forward(measured, shape)
    steps: list[StepEstimate] = []
    numbers = 0.0
    for step in plan.steps:
        after, count = step.resulting(shape), 0
        if training := step.trains:
            count = training.steps(learnt.sequences)
            share = count * training.batch_size / learnt.sequences
            flops += share * PASSES_PER_TRAINED_ROW * _forward(learnt, shape)
            flops += _passes_of_the_teacher(step, share, plan) * _forward(learnt, shape)
            if selection:
                flops += ceil(count / training.evaluation_every(learnt.sequences)) * _forward(
                    selection, after
                )
            numbers = max(numbers, training.batch_size * _kept(learnt, shape))
        steps.append(
            StepEstimate(
                method=step.method,
                layers_before=shape.layers,
                layers_after=after.layers,
                training_steps=count,
            )
        )
        shape = after
    files = 1 + len(plan.onnx_files)
    flops += files * _forward(measured, shape)
    return Estimate(
        steps=steps,
        training_steps=sum(step.training_steps for step in steps),
        seconds=round(flops / FLOPS_PER_SECOND[queue], 1),
        memory_bytes=int(RUNTIME_BYTES + model.parameters * BYTES_PER_PARAMETER + 4 * numbers),
        assumptions=[
            f"a worker of the queue {queue} does {FLOPS_PER_SECOND[queue]:.0e} floating point operations a second",
            f"{splits['train'].rows} rows to learn from are {_in_words(learnt)}: {PIECES_PER_WORD} for a word",
            f"{splits[plan.evaluation.split].rows} rows to be measured by are {_in_words(measured)}",
            "a row in training costs three forward passes of the model before the step; a validation, one of each row",
            "weights are trained in float32 by Adam, and all layers keep their activations",
        ],
    )


def _passes_of_the_teacher(step: StepParams, share: float, plan: Plan) -> float:
    """Over the training rows: one for each time that a row is learnt from, or one in all for answers that are kept."""
    if step.shown_each_batch:
        return share
    if getattr(step, "distillation", None) is None:
        return 0.0
    return share if plan.task.PREDICTS_PIECES else min(share, 1)


def _forward(reading: Reading, shape: ModelShape) -> float:
    """Operations of one forward pass; attention between word pieces is left out, as rows are short."""
    attention = 4 * shape.hidden_size**2
    feed_forward = 2 * shape.hidden_size * shape.intermediate_size
    layers = shape.layers * (attention + feed_forward)
    answers = reading.sequences * reading.answers * shape.hidden_size * shape.vocabulary_size
    return 2.0 * (reading.total * layers + answers)


def _kept(reading: Reading, shape: ModelShape) -> float:
    """Numbers that one sequence keeps for the backward pass."""
    layers = shape.layers * shape.hidden_size * ACTIVATIONS_PER_LAYER
    return reading.pieces * layers + reading.answers * shape.vocabulary_size


def _in_words(reading: Reading) -> str:
    return f"{reading.sequences} sequences of {reading.pieces:.0f} word pieces"
