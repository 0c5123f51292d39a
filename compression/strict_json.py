"""JSON from users: bounded in bytes, in structure and in depth, without duplicate keys or NaN."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from compression.errors import InputError, Problem

T = TypeVar("T", dict[str, Any], list[Any])
MAX_CONTAINERS = 1_000_000
"""Objects and arrays: a few bytes of JSON each, but a hundred once parsed."""


def read_json_object(path: Path, max_bytes: int) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        InputError: too large, or not such a file.
    """
    size = path.stat().st_size
    if size > max_bytes:
        message = f"the file has {size} bytes; no more than {max_bytes} are read"
        raise InputError(Problem("file_too_large", message, path.name))
    return parse_json_object(path.read_bytes(), path.name)


def read_json_array(path: Path, max_bytes: int) -> list[Any]:
    """Read a file that holds one JSON array. Raises InputError as `read_json_object` does."""
    if path.stat().st_size > max_bytes:
        message = f"the file is too large; no more than {max_bytes} bytes are read"
        raise InputError(Problem("file_too_large", message, path.name))
    return _parse(path.read_bytes(), path.name, list)


def parse_json_object(content: bytes | str, place: str) -> dict[str, Any]:
    """Parse one JSON object.

    Raises:
        InputError: it is not one, with `place` as the place.
    """
    return _parse(content, place, dict)


def _parse(content: bytes | str, place: str, kind: type[T]) -> T:
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        if text.count("[") + text.count("{") > MAX_CONTAINERS:
            raise ValueError(f"it holds more than {MAX_CONTAINERS} objects and arrays")
        value = _decoder.decode(text)
        if not isinstance(value, kind):
            raise ValueError(f"it is not an {'object' if kind is dict else 'array'}")
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        message = f"this is not the JSON expected here: {reason}"
        raise InputError(Problem("invalid_json", message, place)) from error
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:100]!r} is there twice")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
