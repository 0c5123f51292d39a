"""Layer dropping (Sajjad et al. 2023): delete layers of the fine-tuned model, then train what is left."""

from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.traits import architectures_with
from compression.context import Context, TaskData
from compression.methods.layer_drop.choice import layers_left, layers_to_keep
from compression.methods.layer_drop.params import LayerDropParams
from compression.training.loop import train
from compression.training.objectives import TaskObjective
from compression.training.teacher import teacher_logits


def run(model: PreTrainedModel, data: TaskData, params: LayerDropParams, context: Context) -> PreTrainedModel:
    """Drop layers of `model` in place, train the rest where recovery is asked for, and return it."""
    anatomy = anatomy_of(model)
    repeats = model.config.model_type not in architectures_with("own_layers")
    kept = [] if repeats else context.decide("kept", lambda: layers_to_keep(model, data, params, context))
    teacher = teacher_logits(model, data, params, context)
    if repeats:
        model.config.num_hidden_layers = params.depth(model.config.num_hidden_layers)
    else:
        anatomy.put_layers(model, layers_left(model, kept, data, params, context, "layer_drop"))
    if params.recovery is not None:
        train(TaskObjective(model, params.distillation, teacher), data, params.recovery, context)
    return model
