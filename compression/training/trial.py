"""Short trials that compare starting points: a few steps, no checkpoints, nothing recorded."""

import torch
from transformers import PreTrainedModel

from compression.context import Context, TaskData
from compression.data.batches import collate, epoch_batches, evaluation_batches
from compression.evaluation.predict import predict
from compression.tasks.behaviour import behaviour_of
from compression.training.loop import Objective, seed_step
from compression.training.params import Training
from compression.training.precision import MixedPrecision
from compression.training.whole_layer import fast_layers

VALIDATION_BATCHES = 50
"""Training batches that stand in for the validation split where there is none."""


def train_briefly(
    objective: Objective, data: TaskData, training: Training, context: Context, steps: int
) -> None:
    """Train for `steps` steps at the full learning rate, the same batches and random numbers at every call."""
    dtype = context.dtype_for(training)
    by_length = training.batching == "by_length"
    order = epoch_batches(data.train, training.batch_size, context.seed, 0, by_length=by_length)
    with fast_layers(objective.model):
        weights = MixedPrecision(
            objective.model, objective.trained(), dtype, training.weight_decay, objective.sparse()
        )
        objective.model.train()
        for step in range(steps):
            seed_step(context, step)
            if objective.prepare(step, step / steps):
                loss = objective.loss(collate(data.train, order[step % len(order)], context.device))
                torch.autograd.backward(loss)
                weights.step(training.learning_rate, training.clip_norm, objective.outside_share)
            context.stop_if_requested()
        weights.release()
        objective.model.eval()


@torch.no_grad()
def validation_loss(objective: Objective, data: TaskData, context: Context) -> float:
    """Mean loss of the validation rows, or of some training rows where there are none."""
    objective.model.eval()
    if data.selection is not None:
        batches = evaluation_batches(data.selection, context.device)
    else:
        order = epoch_batches(data.train, 32, context.seed, 0)[-VALIDATION_BATCHES:]
        batches = (collate(data.train, rows, context.device) for rows in order)
    total, rows = 0.0, 0
    for batch in batches:
        total += float(objective.loss(batch)) * len(batch.rows)
        rows += len(batch.rows)
        context.stop_if_requested()
    return total / rows


def metric_now(model: PreTrainedModel, data: TaskData, context: Context) -> float:
    """The job's metric on the validation rows, or on the training rows where there are none."""
    rows = data.train if data.selection is None else data.selection
    logits = predict(model, rows, context.stop_if_requested)
    return behaviour_of(data.task).score(data.metric, logits, rows)
