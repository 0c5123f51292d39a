"""Which layers should the successor start from? A few steps of each choice tell."""

import math
from collections.abc import Callable
from typing import get_args

from compression.context import Context, TaskData
from compression.methods.layer_choice import LayerChoice, chosen_layers
from compression.methods.theseus.objective import TheseusObjective
from compression.methods.theseus.params import TheseusParams
from compression.training.trial import train_briefly, validation_loss


def best_initialization(
    begin: Callable[[LayerChoice], TheseusObjective], data: TaskData, params: TheseusParams, context: Context
) -> LayerChoice:
    """The choice whose successor has the lowest validation loss after `probe_steps` steps with all modules replaced.

    Every choice is trained on the same batches with the same dropout; choices that name the same layers count once.
    No more steps are made than the training has: the teacher has answered no other rows. Where no choice can be told
    from the others, it is the default.
    """
    steps = min(params.probe_steps, params.training.steps(len(data.train)))

    def find() -> LayerChoice:
        losses: dict[LayerChoice, float] = {}
        sources = set()
        for choice in get_args(LayerChoice):
            objective = begin(choice)
            layers = tuple(chosen_layers(choice, [len(module.predecessor) for module in objective.modules]))
            if layers not in sources:
                sources.add(layers)
                losses[choice] = _loss_after(objective, data, params, steps, context)
        best = min(losses, key=lambda choice: (losses[choice], choice != "module_last"))
        found = ", ".join(f"{choice} {loss:.4f}" for choice, loss in losses.items())
        context.note(f"theseus: validation loss after {steps} steps by initialization: {found}; kept: {best}")
        return best

    return context.decide("initialization", find)


def _loss_after(
    objective: TheseusObjective, data: TaskData, params: TheseusParams, steps: int, context: Context
) -> float:
    at_once = params.schedule.model_copy(update={"full_at": 0.0, "stagger": 0.0})
    objective.params = params.model_copy(update={"schedule": at_once})
    train_briefly(objective, data, params.training, context, steps)
    objective.teacher_logits = objective.teacher = None  # what it shows and answers is for training rows
    loss = validation_loss(objective, data, context)
    return loss if math.isfinite(loss) else math.inf
