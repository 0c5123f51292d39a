"""Layer dropping (Sajjad et al. 2023): delete layers of the fine-tuned model, then train what is left."""

from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.context import Context, TaskData
from compression.methods.layer_drop.params import LayerDropParams
from compression.training.loop import train
from compression.training.objectives import TaskObjective


def run(model: PreTrainedModel, data: TaskData, params: LayerDropParams, context: Context) -> PreTrainedModel:
    """Drop layers of `model` in place, train the rest where recovery is asked for, and return it."""
    anatomy = anatomy_of(model)
    layers = anatomy.layers_of(model)
    anatomy.put_layers(model, [layers[index] for index in params.kept(len(layers))])
    if params.recovery is not None:
        train(TaskObjective(model), data, params.recovery, context)
    return model
