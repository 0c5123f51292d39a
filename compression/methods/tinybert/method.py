"""TinyBERT (Jiao et al. 2020), the stages for a task: a student learns its teacher's states, then its logits."""

from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.context import Context, TaskData
from compression.methods.shape import ModelShape
from compression.methods.tinybert.objective import TinyBertObjective
from compression.methods.tinybert.params import TinyBertParams
from compression.methods.tinybert.student import cut_student
from compression.training.loop import train


def run(model: PreTrainedModel, data: TaskData, params: TinyBertParams, context: Context) -> PreTrainedModel:
    """Train a student cut out of `model`, and return it."""
    shape = shape_of(model)
    layers = [layer - 1 for layer in params.mapped(shape.layers)]
    cut = cut_student(model, layers, params.resulting(shape))
    objective = TinyBertObjective(cut, model, data, params, context)
    train(objective, data, params.training, context)
    objective.release()
    return cut.student


def shape_of(model: PreTrainedModel) -> ModelShape:
    config = model.config
    return ModelShape(
        architecture=config.model_type,
        task=anatomy_of(model).task,
        layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        attention_heads=config.num_attention_heads,
        intermediate_size=getattr(config, anatomy_of(model).intermediate_size),
        vocabulary_size=config.vocab_size,
    )
