"""Which layers of a deep model a shallower one starts from."""

from itertools import accumulate, pairwise
from typing import Literal

LayerChoice = Literal["first_layers", "module_first", "module_last", "spread"]


def equal_modules(layers: int, count: int) -> list[int]:
    """Layers in each of `count` modules; where the division leaves a rest, late ones are longer."""
    size, rest = divmod(layers, count)
    return [size] * (count - rest) + [size + 1] * rest


def growing_modules(layers: int, count: int) -> list[int]:
    """Layers in each of `count` modules, as near to 1 : 2 : 3 ... as whole layers allow: [1, 2, 3] of six."""
    ends = [0]
    for i in range(1, count + 1):
        share = i * (i + 1) / (count * (count + 1))
        ends.append(min(max(round(layers * share), ends[-1] + 1), layers - (count - i)))
    return [end - first for first, end in pairwise(ends)]


def bounds_of(modules: list[int]) -> list[tuple[int, int]]:
    """First layer of each module, and the one after its last."""
    return list(pairwise([0, *accumulate(modules)]))


def ends_of(modules: list[int]) -> list[int]:
    """The last layer of each module, counted from 1."""
    return list(accumulate(modules))


def chosen_layers(choice: LayerChoice, modules: list[int]) -> list[int]:
    """One layer for each module, lowest first.

    `spread` takes the two ends and equal steps between: [0, 2, 4, 7, 9, 11] of twelve, as DistilBERT does.
    """
    bounds = bounds_of(modules)
    count, layers = len(bounds), bounds[-1][1]
    match choice:
        case "first_layers":
            return list(range(count))
        case "module_first":
            return [first for first, _ in bounds]
        case "module_last":
            return [end - 1 for _, end in bounds]
        case "spread":
            return [round(i * (layers - 1) / max(1, count - 1)) for i in range(count)]
