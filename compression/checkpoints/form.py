"""Weights that are factorised, packed or in few bits, judged before anything is built; see `plankwright_model.py`."""

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np

from compression.checkpoints.bodies import body_for
from compression.checkpoints.config import task_of
from compression.checkpoints.config_keys import AlbertConfig, CheckedConfig, Form
from compression.checkpoints.layout import expected_tensors, may_be_factorised
from compression.checkpoints.safetensors_header import TensorInfo
from compression.checkpoints.traits import architectures_with
from compression.checkpoints.weights import OWN_FORM
from compression.errors import Problem

Tensors = dict[str, TensorInfo]


def form_problems(config: CheckedConfig, tensors: Tensors) -> list[Problem]:
    """Whether config and weight file agree about the form, and the config names what has one."""
    stored = any(tensor.file == OWN_FORM for tensor in tensors.values())
    if stored != (config.plankwright is not None):
        message = f"`plankwright` in config.json and {OWN_FORM} belong together: one of them is missing"
        return [Problem("form_differs", message, "config.json#/plankwright")]
    if config.plankwright is None:
        return []
    form = config.plankwright
    if wrong := sorted(_wrong_sizes(config, form)):
        message = "the attention of a layer has the same whole number of heads in all four of its maps, or all it had"
        return _wrong_keys("sizes", wrong, message)
    if unknown := sorted(form.low_rank.keys() - may_be_factorised(config)):
        message = "the model has no such linear map in its layers, and no such table of word pieces"
        return _wrong_keys("low_rank", unknown, message)
    matrices = {name for name, shape in expected_tensors(config).items() if len(shape) == 2}
    return _wrong_keys("bits", sorted(form.bits.keys() - matrices), "the model has no such matrix")


def _wrong_sizes(config: CheckedConfig, form: Form) -> Iterator[str]:
    """Paths of `sizes` that are no maps of an attention, or do not go with the others of it."""
    known = set[str]()
    if config.model_type in architectures_with("plain_scores"):
        body, width = body_for(config.model_type, task_of(config)), config.hidden_size
        stored = config.num_hidden_groups if isinstance(config, AlbertConfig) else config.num_hidden_layers
        for index in range(stored):
            *into, out_of = paths = [f"{body.layers}.{index}.{name}" for name in body.attention]
            inside = form.sizes.get(out_of, [0, 0])[0]
            right = {path: [width, inside] for path in into} | {out_of: [inside, width]}
            whole_heads = 0 < inside < width and inside % (width // config.num_attention_heads) == 0
            if whole_heads and all(form.sizes.get(path) == right[path] for path in paths):
                known |= set(paths)
    yield from form.sizes.keys() - known


def _wrong_keys(setting: str, keys: list[str], message: str) -> list[Problem]:
    return [
        Problem("invalid_config_value", message, f"config.json#/plankwright/{setting}/{key[:200]}")
        for key in keys[:10]
    ]


def unpack(folder: Path, tensors: Tensors, config: CheckedConfig) -> tuple[Tensors, list[Problem]]:
    """The tensors with whole ones in the place of their parts, in the number format that they are loaded in."""
    form = config.plankwright
    if form is None:
        return tensors, []
    whole, problems = dict(tensors), []
    for name, shape in expected_tensors(config).items():
        names = _parts_of(name, form, tensors)
        if missing := [part for part in names if f"{name}.{part}" not in tensors]:
            message = f"by the other parts of the weight and config.json it has {' and '.join(missing)}"
            problems.append(Problem("missing_weights", message, f"{OWN_FORM}#{name}"))
        if missing or not names:
            continue
        parts = {part: whole.pop(f"{name}.{part}") for part in names}
        stored = parts[names[-1]]
        whole[name] = replace(stored, shape=shape, dtype="F32" if name in form.bits else stored.dtype)
        wrong = _wrong_parts(folder, parts, shape, form.bits.get(name, 0), form.group_size)
        problems += [Problem("wrong_shape", why, f"{OWN_FORM}#{name}.{part}") for part, why in wrong]
    return whole, problems[:10]


def _parts_of(name: str, form: Form, tensors: Tensors) -> list[str]:
    """What a weight is stored as, where that is not one tensor."""
    mask = ["mask"] if form.packed and f"{name}.mask" in tensors else []
    values = ["codes", "scales"] if name in form.bits else ["values"] if mask else []
    return mask + values


def _wrong_parts(
    folder: Path, parts: Tensors, shape: tuple[int, ...], bits: int, group_size: int
) -> Iterator[tuple[str, str]]:
    """Which parts of a weight do not go with its shape, and why."""
    if mask := parts.get("mask"):
        if mask.dtype != "U8" or mask.shape != (-(-prod(shape) // 8),):
            yield "mask", f"a mask of {list(shape)} has one bit for each element, in bytes"
            return
        ones = _ones(folder, mask, prod(shape))
        if ones is None:
            yield "mask", "a bit is set behind the last element"
            return
        shape = (ones,)
    if values := parts.get("values"):
        if values.shape != shape:
            yield "values", f"the mask has {shape[0]} places for {values.elements} values"
        return
    size, groups = -(-prod(shape) // 8) * bits, (*shape[:-1], -(-shape[-1] // group_size))
    if (parts["codes"].dtype, parts["codes"].shape) != ("U8", (size,)):
        yield "codes", f"the codes of {list(shape)} in {bits} bits are {size} bytes"
    if (parts["scales"].dtype, parts["scales"].shape) != ("F16", groups):
        yield "scales", f"the scales of {list(shape)} in groups of {group_size} are {list(groups)} in F16"


def _ones(folder: Path, mask: TensorInfo, elements: int) -> int | None:
    """Set bits of a mask; None where one is set behind the last element."""
    packed = np.fromfile(folder / mask.file, np.uint8, mask.elements, offset=mask.start)
    spare = packed.size * 8 - elements
    if spare and packed[-1] >> (8 - spare):
        return None
    return int(np.bitwise_count(packed).sum())
