"""Finds the ranges to which an 8-bit model rounds what its layers pass on."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.traits import architectures_with
from compression.data.batches import collate, epoch_batches
from compression.data.encoding import Encoded
from compression.evaluation.inputs import inputs_seen, of_pieces
from compression.export.graph import Graph
from compression.export.int8 import Ranges, linear_layers

BATCH = 32

CallRanges = Mapping[str, Sequence[Sequence[float]]]
"""By the path of a linear map, the lowest and the highest input of each of its calls in one pass, in order."""


@torch.no_grad()
def find_ranges(
    model: PreTrainedModel,
    rows: Encoded,
    count: int,
    seed: int,
    between_batches: Callable[[], None] = lambda: None,
) -> CallRanges:
    """Lowest and highest input of each linear map on a random sample of rows without their padding, zero among them:
    the mean over batches.

    A head's are not among them where it is given one state for each row: there a range of its own costs nothing.
    """
    linear = {path: module for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    alone = _of_first_piece(model)
    sample = np.concatenate(epoch_batches(rows, BATCH, seed, epoch=0, by_length=False))[:count]
    extremes: dict[str, list[list[float]]] = defaultdict(list)
    batches = np.array_split(sample, range(BATCH, len(sample), BATCH))
    for chosen in batches:
        batch = collate(rows, chosen, model.device)

        def see(path: str, states: torch.Tensor, mask: torch.Tensor | None = batch.attention_mask) -> None:
            if states.ndim == 3:
                counted = states[:, 0] if path in alone else of_pieces(states, mask)
                lowest, highest = torch.aminmax(counted)
                extremes[path].append([min(float(lowest), 0.0), max(float(highest), 0.0)])

        with inputs_seen(linear, see), _few_logits(model, rows):
            model(**batch.inputs)
        between_batches()
    return {
        path: np.mean(np.reshape(found, (len(batches), -1, 2)), axis=0).tolist()
        for path, found in extremes.items()
    }


def by_state(graph: Graph, ranges: CallRanges) -> Ranges:
    """The ranges of the states that the graph's linear parts take; of those that several take, what holds all."""
    calls = Counter[str]()
    found: Ranges = {}
    for node in linear_layers(graph):
        path, state = graph.modules.get(node.output[0], ""), node.input[0]
        if path in ranges:
            lowest, highest = ranges[path][calls[path]]
            calls[path] += 1
            others = found.get(state, (lowest, highest))
            found[state] = min(lowest, others[0]), max(highest, others[1])
    return found


def _of_first_piece(model: PreTrainedModel) -> set[str]:
    """Linear maps whose results count at the first piece alone: those of the last layer, keys and values aside."""
    anatomy = anatomy_of(model)
    if not anatomy.reads_first_piece or model.config.model_type not in architectures_with("own_layers"):
        return set()
    layers = anatomy.layers_of(model)
    of_all = tuple(anatomy.attention[1:3])
    return {
        f"{anatomy.layers}.{len(layers) - 1}.{path}"
        for path, module in layers[-1].named_modules()
        if isinstance(module, nn.Linear) and not path.startswith(of_all)
    }


@contextmanager
def _few_logits(model: PreTrainedModel, rows: Encoded) -> Iterator[None]:
    """Those of a whole vocabulary take gigabytes: while this lasts, there are none but for the first piece of a row."""
    if not rows.task.PREDICTS_PIECES:
        yield
        return
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: inputs[0][:, :1])
    try:
        yield
    finally:
        hook.remove()
