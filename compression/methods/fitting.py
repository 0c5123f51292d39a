"""Least squares before any training: a layer that stands for several, or for a wider one, puts out nearly what they do.

Two maps of a layer add to the hidden states, the one behind its attention and the one behind its neurons. They can be
found anew without a gradient: they are linear, and what the sums should be is known from the last of the layers that
it stands for, whose neurons it has (`copies`). ReplaceMe (Shopkhoev et al., NeurIPS 2025, section 2.2) fits a linear
map of hidden states in the place of removed layers and merges it into the last map of the layer before; fitted here
are the maps themselves, which see what was attended to, and the neurons.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import Anatomy, anatomy_of, states_of
from compression.checkpoints.loading import is_pruned
from compression.checkpoints.plankwright_model import LowRankLinear
from compression.checkpoints.traits import what_it_lacks
from compression.context import Context, TaskData
from compression.data.batches import Batch, collate, epoch_batches
from compression.evaluation.inputs import inputs_seen, of_pieces
from compression.evaluation.maps import maps_by_onednn
from compression.methods.layer_choice import bounds_of

BATCH = 32
PIECES = 16384
"""Word pieces of training rows that a map is fitted on. Half as many keep 0.90 of STS-B (preset `distilled`, two
steps, one seed), these 0.92, four times as many 0.91."""
RIDGE = 0.3
"""How much a map is held where it was. So measured, 0.03 to 0.3 keep 0.92, and 1 keeps 0.91."""

Given = dict[str | None, tuple[tuple[Any, ...], dict[str, Any]]]
"""What layers are given beside the states, by place and by name: by their kind, where they have kinds."""


class Place(NamedTuple):
    """Where a layer adds to the hidden states."""

    added_by: str
    """The linear map whose output is added."""
    read_by: str | None
    """The norm that is given the sum; nothing where it is what the layer puts out."""


@dataclass(slots=True)
class Seen:
    """One batch: how far the modules and the successors have got with it."""

    wanted: torch.Tensor
    """(B, L, H): what the next module is given."""
    states: torch.Tensor
    """(B, L, H): what the next successor is given."""
    given: Given
    mask: torch.Tensor | None
    sums: dict[Place, torch.Tensor]
    """The sums (P, H) of the last layer of the module just passed, at the P word pieces."""


@torch.no_grad()
def fit_successors(
    model: PreTrainedModel,
    successors: Iterable[nn.Module],
    partition: Sequence[int],
    data: TaskData,
    context: Context,
    told_by: str | None,
) -> None:
    """Change each successor so that it puts out nearly what the module of so many layers in its place does.

    One after the other from the first, each is given what those before it put out. `model` stays as it is. Zeros of a
    pruned model stay, too: nothing is fitted then, nor where layers share their weights. After an interruption in the
    training nothing is, either: the checkpoint has what was learnt since.

    The method `told_by` tells in the report what came of it.
    """
    if context.resumed is not None and context.resumed.step:
        return
    architecture: Any = model.config.model_type
    if is_pruned(model):
        said = "nothing is fitted, as the zeros of the pruned model stay"
    elif shared := what_it_lacks(architecture, "own_layers"):
        said = f"nothing is fitted, as {shared}"
    else:
        left = _fit_in_turn(model, successors, partition, data, context)
        shares = ", ".join(" and ".join(f"{share:.0%}" for share in layer) for layer in left) or "all"
        said = f"least squares left {shares} of the squared difference before any training"
    if told_by is not None:
        context.note(f"{told_by}: {said}")


def _fit_in_turn(
    model: PreTrainedModel,
    successors: Iterable[nn.Module],
    partition: Sequence[int],
    data: TaskData,
    context: Context,
) -> list[list[float]]:
    """Fit each successor that is no copy. Returns, of each, the shares of the squared differences that are left."""
    anatomy = anatomy_of(model)
    layers = list(anatomy.layers_of(model))
    places = _places(anatomy)
    left = []
    with maps_by_onednn(model):
        sample = [_look(model, anatomy, batch) for batch in _batches(model, data, context)]
        for (first, end), successor in zip(bounds_of(list(partition)), successors, strict=True):
            module = layers[first:end]
            with maps_by_onednn(successor):
                for seen in sample:
                    _pass(module, places, anatomy, seen)
                if not _is_copy(successor, module):
                    left.append([_fit(successor, place, anatomy, sample) for place in places])
                for seen in sample:
                    seen.states = _call(successor, seen.states, anatomy, seen)
            context.stop_if_requested()
    return left


def _places(anatomy: Anatomy) -> list[Place]:
    """In the order in which a layer comes to them."""
    attended, neurons = anatomy.attention[-1], anatomy.feed_forward[1]
    first, second = anatomy.norms
    if anatomy.pre_norm:
        return [Place(attended, second), Place(neurons, None)]
    return [Place(attended, first), Place(neurons, second)]


def _batches(model: PreTrainedModel, data: TaskData, context: Context) -> Iterator[Batch]:
    pieces = 0
    for rows in epoch_batches(data.train, BATCH, context.seed, epoch=0):
        yield collate(data.train, rows, model.device)
        context.stop_if_requested()
        pieces += int(data.train.lengths[rows].sum())
        if pieces >= PIECES:
            return


def _look(model: PreTrainedModel, anatomy: Anatomy, batch: Batch) -> Seen:
    """Show the model a batch, as far as is needed to see what its layers are given."""
    layers = anatomy.layers_of(model)
    kinds = {_kind(layer, anatomy) for layer in layers}
    entered: list[torch.Tensor] = []
    given: Given = {}

    def at_layer(layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        states, *others = args
        entered.append(states)
        given[_kind(layer, anatomy)] = tuple(others), named
        if given.keys() == kinds:
            raise _SeenAll

    handles = [layer.register_forward_pre_hook(at_layer, with_kwargs=True) for layer in layers]
    try:
        with suppress(_SeenAll):
            model.base_model(**batch.inputs)
    finally:
        for handle in handles:
            handle.remove()
    return Seen(entered[0], entered[0], given, batch.attention_mask, {})


class _SeenAll(Exception):
    """Ends a forward pass of which nothing more is needed."""


def _pass(module: Sequence[nn.Module], places: Sequence[Place], anatomy: Anatomy, seen: Seen) -> None:
    """Through the layers of a module, of whose last the sums are kept."""

    def keep(place: Place, states: torch.Tensor) -> None:
        seen.sums[place] = of_pieces(states, seen.mask)

    handles = [_watch_sums(module[-1], place, partial(keep, place)) for place in places]
    try:
        for layer in module:
            seen.wanted = _call(layer, seen.wanted, anatomy, seen)
    finally:
        for handle in handles:
            handle.remove()


def _watch_sums(
    layer: nn.Module, place: Place, see: Callable[[torch.Tensor], None]
) -> "torch.utils.hooks.RemovableHandle":
    """Let `see` have the sums (B, L, H) at a place whenever the layer computes them."""
    if place.read_by is None:
        return layer.register_forward_hook(lambda _, __, output: see(states_of(output)))
    norm = layer.get_submodule(place.read_by)
    return norm.register_forward_pre_hook(lambda _, inputs: see(inputs[0]))


def _fit(successor: nn.Module, place: Place, anatomy: Anatomy, sample: Sequence[Seen]) -> float:
    """Change the map W and the bias b at a place of a successor by the D (N + 1, H) with the least

        sum over p of ||f_p D - r_p||^2 / var(t_p) + RIDGE * s * ||D||^2.

    f_p (N + 1) is what the map is given at a word piece, and a one where there is a bias; t_p (H) is what the sum
    should be there, r_p what lacks; s is the mean eigenvalue, of those that are not zero for want of word pieces, of
    the sum of f_p^T f_p / var(t_p). The variance is what a norm divides by.

    Returns the share of the squared differences to the sums of the module just passed that is left.
    """
    linear = _map_at(successor, place)
    bias: torch.Tensor | None = linear.bias
    gram, moment, lacking, pieces = torch.zeros(()), torch.zeros(()), 0.0, 0
    for seen in sample:
        target = seen.sums[place]
        given, found = _at_place(successor, place, linear, anatomy, seen)
        scale = 1 / target.std(dim=1, keepdim=True).clamp(min=1e-6)
        features = (given if bias is None else torch.cat([given, torch.ones_like(scale)], dim=1)) * scale
        lacks = (target - found) * scale
        gram = gram + (features.T @ features).double()
        moment = moment + (features.T @ lacks).double()
        lacking += float(lacks.double().square().sum())
        pieces += len(target)
    eigenvalue = gram.trace() / min(len(gram), pieces)
    held = gram + RIDGE * eigenvalue * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    change = torch.linalg.solve(held, moment)
    left = lacking - 2 * float((change * moment).sum()) + float((change * (gram @ change)).sum())
    linear.weight += change[: linear.in_features].T
    if bias is not None:
        bias += change[-1]
    return left / lacking if lacking else 0.0


def _map_at(layer: nn.Module, place: Place) -> nn.Linear:
    """The map at a place; of one in two factors the second, which is given fewer numbers."""
    linear = layer.get_submodule(place.added_by)
    linear = linear.up if isinstance(linear, LowRankLinear) else linear
    assert isinstance(linear, nn.Linear)
    return linear


def _at_place(
    successor: nn.Module, place: Place, linear: nn.Linear, anatomy: Anatomy, seen: Seen
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the map is given (P, N), and the sums (P, H)."""
    sums: list[torch.Tensor] = []
    given: list[torch.Tensor] = []
    watch = _watch_sums(successor, place, sums.append)
    try:
        with inputs_seen({"": linear}, lambda _, states: given.append(states)):
            _call(successor, seen.states, anatomy, seen)
    finally:
        watch.remove()
    return of_pieces(given[0], seen.mask), of_pieces(sums[0], seen.mask)


def _call(layer: nn.Module, states: torch.Tensor, anatomy: Anatomy, seen: Seen) -> torch.Tensor:
    args, named = seen.given[_kind(layer, anatomy)]
    return states_of(layer(states, *args, **named))


def _kind(layer: nn.Module, anatomy: Anatomy) -> str | None:
    return None if anatomy.kind is None else str(getattr(layer, anatomy.kind))


def _is_copy(successor: nn.Module, module: Sequence[nn.Module]) -> bool:
    """Whether a module is one layer, and the successor is the same."""
    if len(module) > 1:
        return False
    own, others = successor.state_dict(), module[0].state_dict()
    return own.keys() == others.keys() and all(torch.equal(own[name], others[name]) for name in own)
