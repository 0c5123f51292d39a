"""Knowledge distillation: a student learns to answer as the model does."""

from copy import deepcopy

from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.loading import load_model, open_source
from compression.context import Context, TaskData
from compression.errors import InputError
from compression.methods.copies import copies_of, sources_of
from compression.methods.distill.bilstm import begin_bilstm
from compression.methods.distill.objective import DistillObjective
from compression.methods.distill.params import BiLstmStudent, DistillParams, GivenStudent, StudentModel
from compression.methods.fitting import fit_successors
from compression.methods.layer_choice import chosen_layers
from compression.training.loop import train
from compression.training.objectives import TaskObjective
from compression.training.teacher import teacher_logits


def run(model: PreTrainedModel, data: TaskData, params: DistillParams, context: Context) -> PreTrainedModel:
    """Train a student of `model`, and return it."""
    logits = teacher_logits(model, data, params, context)
    if isinstance(params.student, BiLstmStudent):
        student = begin_bilstm(model, data, params.student, context)
        train(TaskObjective(student, params.distillation, logits), data, params.training, context)
        return student
    student = (
        _cut(model, data, params, context) if params.student is None else _given(params.student, context)
    )
    objective = DistillObjective(student, model, logits, params, context)
    train(objective, data, params.training, context)
    objective.release()
    return student


def _cut(model: PreTrainedModel, data: TaskData, params: DistillParams, context: Context) -> PreTrainedModel:
    """A copy of the model with some of its layers."""
    student = deepcopy(model)
    anatomy = anatomy_of(student)
    partition = params.partition(len(anatomy.layers_of(student)))
    chosen = chosen_layers(params.initialization, partition)
    sources = sources_of(student, chosen, partition, fitted=params.fitted)
    anatomy.put_layers(student, copies_of(student, sources))
    if params.fitted:
        fit_successors(model, anatomy.layers_of(student), partition, data, context, "distill")
    return student


def _given(student: GivenStudent, context: Context) -> PreTrainedModel:
    """A model of its own.

    Raises:
        InputError: it is no sound checkpoint, or not one that can learn from the job's model.
    """
    source = open_source(context.models[student.model])
    if problems := list(StudentModel(student.model).misfits(source.facts, context.source.facts)):
        raise InputError(problems)
    return load_model(source.folder, source.facts, context.device)
