"""The weights that each architecture has, by the names of transformers: what a checkpoint must hold, and may."""

import re
from collections.abc import Iterator

from compression.checkpoints.config import CheckedConfig, task_of

Shape = tuple[int, ...]

HARMLESS = re.compile(
    r"(bert|roberta|distilbert)\.embeddings\.(position_ids|token_type_ids)"
    # Buffers and an unused layer that older versions of transformers saved.
    r"|(bert|roberta)\.pooler\.dense\.(weight|bias)"
)
"""Extra tensors that change nothing."""


def is_head(name: str) -> bool:
    return name.startswith(("classifier.", "pre_classifier.", "qa_outputs."))


def expected_tensors(config: CheckedConfig) -> dict[str, Shape]:
    """Name and shape of every weight of a model with this config."""
    body = config.model_type
    shapes = {f"{body}.embeddings.{name}": shape for name, shape in _embeddings(config)}
    layer = _distilbert_layer if body == "distilbert" else _bert_layer
    layers = f"{body}.transformer.layer" if body == "distilbert" else f"{body}.encoder.layer"
    for index in range(config.num_hidden_layers):
        shapes |= {f"{layers}.{index}.{name}": shape for name, shape in layer(config)}
    shapes |= dict(_head(config))
    return _factorised(shapes, config.plankwright.low_rank) if config.plankwright else shapes


def _factorised(shapes: dict[str, Shape], ranks: dict[str, int]) -> dict[str, Shape]:
    """With two factors in the place of each weight that has a rank: see `plankwright_model.py`."""
    result: dict[str, Shape] = {}
    for name, shape in shapes.items():
        path, kind = name.rsplit(".", 1)
        if path not in ranks:
            result[name] = shape
        elif kind == "bias":
            result[f"{path}.up.bias"] = shape
        else:
            rank, (rows, columns) = ranks[path], shape
            table = path.endswith(".word_embeddings")
            result[f"{path}.down.weight"] = (rows, rank) if table else (rank, columns)
            result[f"{path}.up.weight"] = (columns, rank) if table else (rows, rank)
    return result


def may_be_factorised(config: CheckedConfig) -> set[str]:
    """Paths of the modules whose weight is a matrix of the layers or the table of the word pieces."""
    whole = expected_tensors(config.model_copy(update={"plankwright": None}))
    return {
        name.removesuffix(".weight")
        for name, shape in whole.items()
        if len(shape) == 2 and (".layer." in name or name.endswith(".word_embeddings.weight"))
    }


def _embeddings(config: CheckedConfig) -> Iterator[tuple[str, Shape]]:
    width = config.hidden_size
    yield "word_embeddings.weight", (config.vocab_size, width)
    yield "position_embeddings.weight", (config.max_position_embeddings, width)
    if config.model_type != "distilbert":
        yield "token_type_embeddings.weight", (config.type_vocab_size, width)
    yield from _norm("LayerNorm", width)


def _bert_layer(config: CheckedConfig) -> Iterator[tuple[str, Shape]]:
    width, inner = config.hidden_size, config.intermediate_size
    for name in ("query", "key", "value"):
        yield from _linear(f"attention.self.{name}", width, width)
    yield from _linear("attention.output.dense", width, width)
    yield from _norm("attention.output.LayerNorm", width)
    yield from _linear("intermediate.dense", inner, width)
    yield from _linear("output.dense", width, inner)
    yield from _norm("output.LayerNorm", width)


def _distilbert_layer(config: CheckedConfig) -> Iterator[tuple[str, Shape]]:
    width, inner = config.hidden_size, config.intermediate_size
    for name in ("q_lin", "k_lin", "v_lin", "out_lin"):
        yield from _linear(f"attention.{name}", width, width)
    yield from _norm("sa_layer_norm", width)
    yield from _linear("ffn.lin1", inner, width)
    yield from _linear("ffn.lin2", width, inner)
    yield from _norm("output_layer_norm", width)


def _head(config: CheckedConfig) -> Iterator[tuple[str, Shape]]:
    width, classes = config.hidden_size, len(config.labels)
    if task_of(config) == "token-classification":
        yield from _linear("classifier", classes, width)
    elif task_of(config) == "question-answering":
        yield from _linear("qa_outputs", 2, width)
    elif config.model_type == "roberta":
        yield from _linear("classifier.dense", width, width)
        yield from _linear("classifier.out_proj", classes, width)
    else:
        hidden = "bert.pooler.dense" if config.model_type == "bert" else "pre_classifier"
        yield from _linear(hidden, width, width)
        yield from _linear("classifier", classes, width)


def _linear(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
