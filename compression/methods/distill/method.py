"""Knowledge distillation: a student with some of the model's own layers learns to answer as the whole model does."""

from copy import deepcopy

from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.context import Context, TaskData
from compression.methods.distill.objective import DistillObjective
from compression.methods.distill.params import DistillParams
from compression.methods.layer_choice import chosen_layers
from compression.training.loop import train
from compression.training.teacher import logits_to_learn


def run(model: PreTrainedModel, data: TaskData, params: DistillParams, context: Context) -> PreTrainedModel:
    """Train a student of `model`, and return it."""
    student = deepcopy(model)
    anatomy = anatomy_of(student)
    layers = list(anatomy.layers_of(student))
    chosen = chosen_layers(params.initialization, params.partition(len(layers)))
    anatomy.put_layers(student, [layers[index] for index in chosen])
    logits = logits_to_learn(model, data, params.training, context)
    objective = DistillObjective(student, model, logits, params, context)
    train(objective, data, params.training, context)
    objective.release()
    return student
