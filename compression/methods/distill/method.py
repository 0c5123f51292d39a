"""Knowledge distillation: a student with some of the model's own layers learns to answer as the whole model does."""

from copy import deepcopy

import torch
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.context import Context, TaskData
from compression.evaluation.predict import predict
from compression.methods.distill.objective import DistillObjective
from compression.methods.distill.params import DistillParams
from compression.methods.layer_choice import chosen_layers
from compression.training.loop import train


def run(model: PreTrainedModel, data: TaskData, params: DistillParams, context: Context) -> PreTrainedModel:
    """Train a student of `model`, and return it."""
    student = deepcopy(model)
    anatomy = anatomy_of(student)
    layers = list(anatomy.layers_of(student))
    chosen = chosen_layers(params.initialization, params.partition(len(layers)))
    anatomy.put_layers(student, [layers[index] for index in chosen])
    teacher_logits = torch.from_numpy(predict(model, data.train, context.stop_if_requested))
    objective = DistillObjective(student, model, teacher_logits, params, context)
    train(objective, data, params.training, context)
    objective.release()
    return student
