"""The weights that each architecture has, by the names of transformers: what a checkpoint must hold, and may."""

import re
from collections.abc import Iterator

from compression.checkpoints.bodies import BODIES, Body, body_for
from compression.checkpoints.config import task_of
from compression.checkpoints.config_keys import (
    AlbertConfig,
    CheckedConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    MPNetConfig,
)
from compression.checkpoints.facts import TIED

Shape = tuple[int, ...]

HARMLESS = re.compile(
    r"((bert|roberta|distilbert|electra|mpnet|albert|deberta)\.)?embeddings\.(position_ids|token_type_ids)"
    # Buffers and an unused layer that older versions of transformers saved.
    r"|((bert|roberta|mpnet)\.)?pooler\.dense\.(weight|bias)"
    r"|cls\.seq_relationship\.(weight|bias)"
    r"|deberta\.embeddings\.position_embeddings\.weight"
    r"|(albert\.)?pooler\.(weight|bias)"
    r"|sop_classifier\.classifier\.(weight|bias)"
)
"""Extra tensors that change nothing."""


def is_head(name: str) -> bool:
    heads = (
        "classifier.",
        "pre_classifier.",
        "qa_outputs.",
        "cls.predictions.",
        "lm_head.",
        "vocab_",
        "generator_",
        "predictions.",
    )
    return name.startswith(heads)


def tied_tensors(config: CheckedConfig) -> dict[str, str]:
    """Weights that a checkpoint may hold a second time, and the names that they are known by."""
    body = BODIES[config.model_type]
    if task_of(config) not in TIED:
        return {}
    twice = {f"{body.pieces.decoder}.weight": f"{body.word_embeddings}.weight"}
    return twice | {f"{body.pieces.decoder}.bias": body.pieces.bias}


def expected_tensors(config: CheckedConfig) -> dict[str, Shape]:
    """Name and shape of every weight of a model with this config."""
    body = BODIES[config.model_type]
    shapes = {f"{body.embeddings}.{name}": shape for name, shape in _embeddings(config)}
    shapes |= {f"{body.root}.{name}": shape for name, shape in _beside_the_layers(config)}
    stored = config.num_hidden_groups if isinstance(config, AlbertConfig) else config.num_hidden_layers
    for index in range(stored):
        shapes |= {f"{body.layers}.{index}.{name}": shape for name, shape in _layer(config, body)}
    shapes |= dict(_head(config))
    if task_of(config) == "sentence-similarity":
        shapes = {name.removeprefix(f"{body.root}."): shape for name, shape in shapes.items()}
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
    body = body_for(config.model_type, task_of(config))
    whole = expected_tensors(config.model_copy(update={"plankwright": None}))
    table = None if task_of(config) in TIED else f"{body.word_embeddings}.weight"
    return {
        name.removesuffix(".weight")
        for name, shape in whole.items()
        if len(shape) == 2 and (name.startswith(f"{body.layers}.") or name == table)
    }


def _embeddings(config: CheckedConfig) -> Iterator[tuple[str, Shape]]:
    width = _embedding_width(config)
    yield "word_embeddings.weight", (config.vocab_size, width)
    if not isinstance(config, DebertaV2Config) or config.position_biased_input:
        yield "position_embeddings.weight", (config.max_position_embeddings, width)
    if not isinstance(config, (DistilBertConfig, MPNetConfig)) and config.type_vocab_size:
        yield "token_type_embeddings.weight", (config.type_vocab_size, width)
    yield from _norm("LayerNorm", width)


def _embedding_width(config: CheckedConfig) -> int:
    return config.embedding_size if isinstance(config, (ElectraConfig, AlbertConfig)) else config.hidden_size


def _beside_the_layers(config: CheckedConfig) -> Iterator[tuple[str, Shape]]:
    """What stands between the embeddings and the layers, or is used by all of them."""
    match config:
        case ElectraConfig() if config.embedding_size != config.hidden_size:
            yield from _linear("embeddings_project", config.hidden_size, config.embedding_size)
        case AlbertConfig():
            yield from _linear(
                "encoder.embedding_hidden_mapping_in", config.hidden_size, config.embedding_size
            )
        case MPNetConfig():
            buckets = config.relative_attention_num_buckets
            yield "encoder.relative_attention_bias.weight", (buckets, config.num_attention_heads)
        case DebertaV2Config():
            if config.relative_attention:
                yield "encoder.rel_embeddings.weight", (config.positions, config.hidden_size)
            if config.norm_rel_ebd == "layer_norm":
                yield from _norm("encoder.LayerNorm", config.hidden_size)


def _layer(config: CheckedConfig, body: Body) -> Iterator[tuple[str, Shape]]:
    width, inner = config.hidden_size, config.intermediate_size
    into, out_of = body.feed_forward
    for name in body.attention:
        yield from _linear(name, width, width)
    yield from _linear(into, inner, width)
    yield from _linear(out_of, width, inner)
    if isinstance(config, DebertaV2Config):
        for name in config.own_position_maps:
            yield from _linear(f"attention.self.{name}", width, width)
    for name in body.norms:
        yield from _norm(name, width)


def _head(config: CheckedConfig) -> Iterator[tuple[str, Shape]]:
    width, classes, body = config.hidden_size, len(config.labels), BODIES[config.model_type]
    if task_of(config) == "token-classification":
        yield from _linear("classifier", classes, width)
    elif task_of(config) == "question-answering":
        yield from _linear("qa_outputs", 2, width)
    elif task_of(config) == "sentence-similarity":
        return
    elif task_of(config) == "fill-mask":
        head = body.pieces
        yield from _linear(head.dense, _embedding_width(config), width)
        yield from _norm(head.norm, _embedding_width(config))
        yield head.bias, (config.vocab_size,)
    elif body.heads["text-classification"] == ("classifier",):
        yield from _linear("classifier.dense", width, width)
        yield from _linear("classifier.out_proj", classes, width)
    else:
        hidden = {
            "bert": "bert.pooler.dense",
            "distilbert": "pre_classifier",
            "albert": "albert.pooler",
            "deberta-v2": "pooler.dense",
        }
        yield from _linear(hidden[config.model_type], width, width)
        yield from _linear("classifier", classes, width)


def _linear(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
