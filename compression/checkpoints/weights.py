"""The weight files of a checkpoint, compared with what its config promises, and searched for NaN."""

import re
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path

import numpy as np

from compression.checkpoints.config import task_of
from compression.checkpoints.config_keys import CheckedConfig
from compression.checkpoints.layout import HARMLESS, expected_tensors, is_head, tied_tensors
from compression.checkpoints.safetensors_header import TensorInfo, read_header
from compression.errors import InputError, Problem
from compression.strict_json import read_json_object

SINGLE = "model.safetensors"
OWN_FORM = "plankwright.safetensors"
"""Weights that are not the architecture's own: under this name, transformers refuses to load what it would misread."""
INDEX = "model.safetensors.index.json"
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
MAX_INDEX_BYTES = 2_000_000
MAX_REPORTED = 10
"""Problems of one kind that are told one by one."""

SCAN_BYTES = 1 << 20
EXPONENTS: dict[str, np.unsignedinteger] = {
    "F32": np.uint32(0x7F80_0000),
    "F16": np.uint16(0x7C00),
    "BF16": np.uint16(0x7F80),
}
"""The number formats that are accepted. A number whose exponent bits are all set is NaN or infinite."""


def read_tensors(folder: Path) -> dict[str, TensorInfo]:
    """The tensors of `model.safetensors` or `plankwright.safetensors`, or of the shards that an index names.

    Raises:
        InputError: every problem of the files; nothing is known of single tensors yet.
    """
    found = [name for name in (SINGLE, OWN_FORM, INDEX) if (folder / name).is_file()]
    if len(found) > 1:
        message = f"there are two sets of weights, {found[0]} and {found[1]}: remove one"
        raise InputError(Problem("several_weights", message, found[1]))
    if found == [INDEX]:
        return _read_shards(folder, read_json_object(folder / INDEX, MAX_INDEX_BYTES).get("weight_map"))
    if found:
        return read_header(folder / found[0])
    message = f"there is no {SINGLE}: save the model with save_pretrained, which writes it"
    raise InputError(Problem("missing_weights_file", message, SINGLE))


def _read_shards(folder: Path, weight_map: object) -> dict[str, TensorInfo]:
    def wrong(message: str) -> Problem:
        return Problem("invalid_shard_index", message, INDEX)

    if not isinstance(weight_map, dict) or not all(
        isinstance(file, str) and SHARD.fullmatch(file) for file in weight_map.values()
    ):
        raise InputError(
            wrong("weight_map must name files like model-00001-of-00002.safetensors, without a path")
        )
    problems: list[Problem] = []
    tensors: dict[str, TensorInfo] = {}
    for file in sorted(set(weight_map.values())):
        if not (folder / file).is_file():
            problems.append(Problem("missing_weights_file", f"{INDEX} names it, but it is not there", file))
            continue
        try:
            shard = read_header(folder / file)
        except InputError as error:
            problems += error.problems
            continue
        for name in sorted(shard.keys() & tensors.keys()):
            message = f"the tensor is in {tensors[name].file} as well"
            problems.append(Problem("duplicate_weights", message, _place(file, name)))
        tensors |= shard
    if not problems and {name: tensor.file for name, tensor in tensors.items()} != weight_map:
        problems.append(wrong("it does not say which tensor is in which file as the files do"))
    if problems:
        raise InputError(_few(problems))
    return tensors


def check_tensors(tensors: dict[str, TensorInfo], config: CheckedConfig) -> list[Problem]:
    """Compare names, shapes and number formats with those of the architecture."""
    expected = expected_tensors(config)
    missing = [name for name in expected if name not in tensors]
    head = [name for name in expected if is_head(name)]
    if head and set(head) <= set(missing):
        message = f"the weights hold no head for {task_of(config)}: fine-tune the model first"
        return [Problem("no_task_head", message, SINGLE)]
    known = expected.keys() | tied_tensors(config).keys()
    unexpected = [name for name in tensors if name not in known and not HARMLESS.fullmatch(name)]
    present = [(name, tensors[name], shape) for name, shape in expected.items() if name in tensors]
    foreign = f"a {config.model_type} for {task_of(config)} has no such weight"
    accepted = f"is not one of {', '.join(EXPONENTS)}"
    return [
        *_few(Problem("missing_weights", "the weight is missing", _place(SINGLE, name)) for name in missing),
        *_few(
            Problem("unexpected_weights", foreign, _place(tensors[name].file, name)) for name in unexpected
        ),
        *_few(_wrong_shape(name, info, shape) for name, info, shape in present if info.shape != shape),
        *_few(
            Problem("unsupported_dtype", f"{info.dtype} {accepted}", _place(info.file, name))
            for name, info, _ in present
            if info.dtype not in EXPONENTS
        ),
    ]


def check_tied(folder: Path, tensors: dict[str, TensorInfo], config: CheckedConfig) -> list[Problem]:
    """Compare weights that are there twice: transformers would take one of the two for both."""
    message = "it differs from {}, which it is tied to by config.json"
    return [
        Problem("tied_weights_differ", message.format(other), _place(tensors[name].file, name))
        for name, other in tied_tensors(config).items()
        if name in tensors and other in tensors and not _are_equal(folder, tensors[name], tensors[other])
    ]


def _are_equal(folder: Path, one: TensorInfo, other: TensorInfo) -> bool:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    with (folder / one.file).open("rb") as first, (folder / other.file).open("rb") as second:
        first.seek(one.start)
        second.seek(other.start)
        for start in range(one.start, one.end, SCAN_BYTES):
            size = min(SCAN_BYTES, one.end - start)
            if first.read(size) != second.read(size):
                return False
    return True


def _wrong_shape(name: str, tensor: TensorInfo, expected: tuple[int, ...]) -> Problem:
    place = _place(tensor.file, name)
    if name.endswith(".word_embeddings.weight") and tensor.shape[1:] == expected[1:]:
        message = f"there are {tensor.shape[0]} embeddings, but vocab_size in config.json is {expected[0]}"
        return Problem("embedding_rows_differ", message, place)
    message = f"the shape is {list(tensor.shape)}, by config.json it is {list(expected)}"
    return Problem("wrong_shape", message, place)


def check_finite(folder: Path, tensors: dict[str, TensorInfo]) -> list[Problem]:
    """Search the weights for NaN and infinity, in file order and in pieces of one MiB."""
    problems = []
    for file in sorted({tensor.file for tensor in tensors.values()}):
        with (folder / file).open("rb") as stream:
            for name, tensor in sorted(tensors.items(), key=lambda item: item[1].start):
                if tensor.file == file and tensor.dtype in EXPONENTS and not _is_finite(stream, tensor):
                    message = "it holds NaN or infinite values: this is no result of successful training"
                    problems.append(Problem("non_finite_weights", message, _place(file, name)))
    return _few(problems)


def _is_finite(stream: BufferedReader, tensor: TensorInfo) -> bool:
    exponent = EXPONENTS[tensor.dtype]
    buffer = bytearray(SCAN_BYTES)
    items = np.frombuffer(buffer, exponent.dtype)
    stream.seek(tensor.start)
    left = tensor.elements
    while left:
        chunk = items[:left]
        stream.readinto(memoryview(buffer)[: chunk.nbytes])
        np.bitwise_and(chunk, exponent, out=chunk)
        if chunk.max() == exponent:
            return False
        left -= len(chunk)
    return True


def _few(problems: Iterable[Problem]) -> list[Problem]:
    """The first problems of a kind; the last of them says how many more there are."""
    found = list(problems)
    if len(found) <= MAX_REPORTED:
        return found
    last = found[MAX_REPORTED - 1]
    message = f"{last.message} (and {len(found) - MAX_REPORTED} more tensors like it)"
    return [*found[: MAX_REPORTED - 1], Problem(last.code, message, last.place)]


def _place(file: str, tensor: str) -> str:
    return f"{file}#{tensor[:200]}" if tensor.isprintable() else f"{file}#{tensor[:200]!a}"
