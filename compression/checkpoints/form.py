"""Weights that are factorised or packed, judged before anything is built; see `plankwright_model.py`."""

from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np

from compression.checkpoints.config_keys import CheckedConfig
from compression.checkpoints.layout import expected_tensors, may_be_factorised
from compression.checkpoints.safetensors_header import TensorInfo
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
    unknown = sorted(config.plankwright.low_rank.keys() - may_be_factorised(config))
    message = "the model has no such linear map in its layers, and no such table of word pieces"
    return [
        Problem("invalid_config_value", message, f"config.json#/plankwright/low_rank/{path[:200]}")
        for path in unknown[:10]
    ]


def unpack(folder: Path, tensors: Tensors, config: CheckedConfig) -> tuple[Tensors, list[Problem]]:
    """The tensors with whole ones in the place of masks and values, in the number format of the values."""
    if config.plankwright is None or not config.plankwright.packed:
        return tensors, []
    whole, problems = dict(tensors), []
    for name, shape in expected_tensors(config).items():
        if f"{name}.mask" not in tensors or f"{name}.values" not in tensors:
            continue
        mask, values = whole.pop(f"{name}.mask"), whole.pop(f"{name}.values")
        whole[name] = replace(values, shape=shape)
        if mask.dtype != "U8" or mask.shape != (-(-prod(shape) // 8),):
            message = f"a mask of {list(shape)} has one bit for each element, in bytes"
            problems.append(Problem("wrong_shape", message, f"{OWN_FORM}#{name}.mask"))
        elif (ones := _ones(folder, mask, prod(shape))) != values.elements or len(values.shape) != 1:
            message = f"the mask has {ones} places for {values.elements} values"
            problems.append(Problem("wrong_shape", message, f"{OWN_FORM}#{name}.values"))
    return whole, problems[:10]


def _ones(folder: Path, mask: TensorInfo, elements: int) -> int:
    """Set bits of a mask; -1 where one is set behind the last element."""
    packed = np.fromfile(folder / mask.file, np.uint8, mask.elements, offset=mask.start)
    spare = packed.size * 8 - elements
    if spare and packed[-1] >> (8 - spare):
        return -1
    return int(np.bitwise_count(packed).sum())
