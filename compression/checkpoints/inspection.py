"""Judges a checkpoint folder from a user: torch-free, and before anything is built of it.

transformers loads a checkpoint with missing weights, NaN or absurd sizes without a word; so the judgement is ours.
"""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from compression.checkpoints.bodies import BODIES
from compression.checkpoints.config import LABELLED, needs_padding, parse_config, problem_type_of, task_of
from compression.checkpoints.config_keys import AlbertConfig, CheckedConfig
from compression.checkpoints.facts import ModelFacts
from compression.checkpoints.form import form_problems, unpack
from compression.checkpoints.layout import expected_tensors
from compression.checkpoints.safetensors_header import TensorInfo
from compression.checkpoints.sentence import (
    MODULE_CONFIGS,
    POOLING,
    SENTENCE_FILES,
    SentenceHead,
    read_sentence_head,
)
from compression.checkpoints.tokenizer_files import count_token_ids, padding_id
from compression.checkpoints.vocabulary import vocabulary_digest
from compression.checkpoints.weights import (
    INDEX,
    OWN_FORM,
    SHARD,
    SINGLE,
    check_finite,
    check_tensors,
    check_tied,
    read_tensors,
)
from compression.checkpoints.word_pieces import count_pieces
from compression.errors import InputError, Problem
from compression.strict_json import read_json_object

CHECKPOINT_FILES = frozenset({
    "config.json", SINGLE, OWN_FORM, INDEX, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", *SENTENCE_FILES,
})  # fmt: skip
"""Beside the shards, all that belongs to a checkpoint; other files are no business of ours."""

PICKLES = re.compile(r".*\.(bin|pt|pth|pkl|pickle|ckpt|h5|msgpack)", re.IGNORECASE)
LEFTOVERS = re.compile(r"training_args\.bin|(optimizer|scheduler|scaler)\.pt|rng_state(_\d+)?\.pth")
"""What transformers' Trainer leaves beside a model; it is ignored like any other foreign file."""
MAX_CONFIG_BYTES = 1_000_000

T = TypeVar("T")


def checkpoint_files(folder: Path) -> list[str]:
    """Names of the files in a folder that belong to a checkpoint, in order."""
    names = [path.name for path in folder.iterdir()]
    return sorted(
        name
        for name in (*names, POOLING)
        if (name in CHECKPOINT_FILES or SHARD.fullmatch(name)) and (folder / name).is_file()
    )


def inspect_checkpoint(folder: Path) -> ModelFacts:
    """Judge a checkpoint.

    Raises:
        InputError: every problem found.
    """
    problems = _file_problems(folder)

    def try_to(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except InputError as error:
            problems.extend(error.problems)
            return None

    has_config = (folder / "config.json").is_file()
    config = try_to(lambda: _read_config(folder)) if has_config else None
    tensors = try_to(lambda: read_tensors(folder))
    if config is not None:
        problems += try_to(lambda: _tokenizer_problems(folder, config)) or []
    sentence = None
    if config is not None and task_of(config) == "sentence-similarity":
        width = config.hidden_size
        sentence = try_to(lambda: read_sentence_head(folder, width))
    whole = tensors
    if config is not None and tensors is not None:
        wrong = form_problems(config, tensors)
        if not wrong:
            whole, wrong = unpack(folder, tensors, config)
            wrong += check_tensors(whole, config) + check_tied(folder, tensors, config)
        problems += wrong
    if tensors is not None:
        problems += check_finite(folder, tensors)
    if problems or config is None or whole is None:
        raise InputError(problems)
    return _facts(folder, config, whole, sentence)


def sanitized_config(raw: dict[str, Any]) -> dict[str, Any]:
    """The keys of a `config.json` that may be given to transformers, as they are.

    Raises:
        InputError: the config is refused.
    """
    return parse_config(raw).model_dump(exclude_unset=True)


def _file_problems(folder: Path) -> list[Problem]:
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    configs = [name for name in files if Path(name).name == "config.json" and name not in MODULE_CONFIGS]
    cure = "pickled weights are never read: load the model, and save_pretrained writes safetensors"
    problems = [
        Problem("pickle_weights", cure, name)
        for name in files
        if PICKLES.fullmatch(Path(name).name) and not LEFTOVERS.fullmatch(Path(name).name)
    ]
    if len(configs) > 1:
        message = f"there are several: {', '.join(configs[:5])}; send the folder of one checkpoint"
        problems.append(Problem("several_configs", message, "config.json"))
    elif configs != ["config.json"]:
        found = f", only {configs[0]}" if configs else ""
        message = f"there is no config.json at the top of the checkpoint{found}"
        problems.append(Problem("missing_config", message, "config.json"))
    return problems


def _read_config(folder: Path) -> CheckedConfig:
    return parse_config(read_json_object(folder / "config.json", MAX_CONFIG_BYTES))


def _tokenizer_problems(folder: Path, config: CheckedConfig) -> list[Problem]:
    token_ids = count_token_ids(folder, config.model_type)
    if token_ids > config.vocab_size:
        message = (
            f"the tokenizer has {token_ids} token ids, but vocab_size in config.json is {config.vocab_size}"
        )
        return [Problem("tokenizer_exceeds_embeddings", message, "tokenizer.json")]
    if needs_padding(config) and (padding := padding_id(folder)) != config.pad_token_id:
        message = (
            f"the last word piece of a row is the last that is not pad_token_id, {config.pad_token_id} in config.json: "
            f"set tokenizer.pad_token to the same ({padding} now) and save it"
        )
        return [Problem("pad_token_differs", message, "tokenizer_config.json#/pad_token")]
    return []


def _facts(
    folder: Path, config: CheckedConfig, tensors: dict[str, TensorInfo], sentence: SentenceHead | None
) -> ModelFacts:
    expected = expected_tensors(config)
    weights = [tensors[name] for name in expected]
    by_format: Counter[str] = Counter()
    for tensor in weights:
        by_format[tensor.dtype] += tensor.elements
    task = task_of(config)
    types = [shape[0] for name, shape in expected.items() if name.endswith("token_type_embeddings.weight")]
    after_padding = BODIES[config.model_type].positions_after_padding
    pieces, required = count_pieces(folder, config.pad_token_id, all_before_padding=after_padding)
    return ModelFacts(
        architecture=config.model_type,
        task=task,
        problem_type=problem_type_of(config) if task == "text-classification" else None,
        labels=config.labels if task in LABELLED else [],
        layers=config.num_hidden_layers,
        layer_groups=config.num_hidden_groups if isinstance(config, AlbertConfig) else None,
        hidden_size=config.hidden_size,
        attention_heads=config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        vocabulary_size=config.vocab_size,
        vocabulary=vocabulary_digest(folder),
        pieces=pieces,
        required_pieces=required,
        max_length=min(config.max_length, (sentence and sentence.max_length) or config.max_length),
        token_types=sum(types),
        pad_token_id=config.pad_token_id if needs_padding(config) or after_padding else None,
        sentence=sentence,
        parameters=by_format.total(),
        bytes=sum((folder / file).stat().st_size for file in {tensor.file for tensor in weights}),
        dtype=by_format.most_common(1)[0][0],
        fewer_heads=bool(config.plankwright and config.plankwright.sizes),
        low_rank=bool(config.plankwright and config.plankwright.low_rank),
        packed=bool(config.plankwright and config.plankwright.packed),
        few_bits=bool(config.plankwright and config.plankwright.bits),
    )
