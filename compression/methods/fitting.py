"""Least squares before any training: a layer that stands for several puts out nearly what they did.

A kept layer still computes for the place that it came from. Of all its maps, the one from its neurons back to hidden
states can be found anew without a gradient: what it should put out is known, and it is linear. ReplaceMe (Shopkhoev et
al., NeurIPS 2025, section 2.2) fits a linear map of hidden states in the place of removed layers and merges it into
that map of the layer before; fitted here is the map itself, which sees the neurons.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import Anatomy, anatomy_of, states_of
from compression.checkpoints.loading import is_pruned
from compression.checkpoints.plankwright_model import LowRankLinear
from compression.context import Context, TaskData
from compression.data.batches import Batch, collate, epoch_batches
from compression.evaluation.inputs import inputs_seen, of_pieces
from compression.methods.layer_choice import bounds_of

BATCH = 32
PIECES = 8192
"""Word pieces of training rows that a map is fitted on."""
RIDGE = 1.0
"""How much the map is held where it was: a tenth makes a better model before the training and a worse one after."""


@dataclass(slots=True)
class Seen:
    """What the model showed of one batch, and how far the successors have got with it."""

    states: torch.Tensor
    """(B, L, H): what the next successor is given."""
    given: dict[str | None, tuple[tuple[Any, ...], dict[str, Any]]]
    """What layers are given beside the states, by place and by name: by their kind, where they have kinds."""
    mask: torch.Tensor | None
    ends: list[torch.Tensor]
    """For each module (P, H), what its last layer put out at the P word pieces: before its last norm where it ends with
    one, as the norm of another layer would come to the same."""


@torch.no_grad()
def fit_successors(
    model: PreTrainedModel,
    successors: Iterable[nn.Module],
    partition: Sequence[int],
    data: TaskData,
    context: Context,
    told_by: str | None,
) -> None:
    """Change the last map of each successor so that it puts out what the module of so many layers in its place does.

    One after the other from the first, each is given what those before it put out. `model` stays as it is. Zeros of a
    pruned model stay, too: nothing is fitted then. After an interruption in the training nothing is, either: the
    checkpoint has what was learnt since.

    The method `told_by` tells in the report what came of it.
    """
    if context.resumed is not None and context.resumed.step:
        return
    if is_pruned(model):
        said = "nothing is fitted, as the zeros of the pruned model stay"
    else:
        left = _fit_in_turn(model, successors, partition, data, context)
        shares = ", ".join(f"{share:.0%}" for share in left) or "all"
        said = f"least squares left {shares} of the squared difference before any training"
    if told_by is not None:
        context.note(f"{told_by}: {said}")


def _fit_in_turn(
    model: PreTrainedModel,
    successors: Iterable[nn.Module],
    partition: Sequence[int],
    data: TaskData,
    context: Context,
) -> list[float]:
    """Fit each successor that is no copy. Returns the shares of the squared differences that are left."""
    anatomy = anatomy_of(model)
    layers = list(anatomy.layers_of(model))
    modules = [layers[first:end] for first, end in bounds_of(list(partition))]
    sample = [_look(model, anatomy, modules, batch) for batch in _batches(model, data, context)]
    left = []
    for number, (module, successor) in enumerate(zip(modules, successors, strict=True)):
        if not _is_copy(successor, module):
            left.append(_fit(successor, module[-1], number, anatomy, sample))
        for seen in sample:
            seen.states = states_of(_call(successor, anatomy, seen))
        context.stop_if_requested()
    return left


def _batches(model: PreTrainedModel, data: TaskData, context: Context) -> Iterator[Batch]:
    pieces = 0
    for rows in epoch_batches(data.train, BATCH, context.seed, epoch=0):
        yield collate(data.train, rows, model.device)
        context.stop_if_requested()
        pieces += int(data.train.lengths[rows].sum())
        if pieces >= PIECES:
            return


def _look(
    model: PreTrainedModel, anatomy: Anatomy, modules: Sequence[Sequence[nn.Module]], batch: Batch
) -> Seen:
    """Show the model a batch."""
    seen = Seen(torch.empty(0), {}, batch.attention_mask, [])

    def at_layer(layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        states, *others = args
        if not seen.given:
            seen.states = states
        seen.given[_kind(layer, anatomy)] = tuple(others), named

    def at_end(states: torch.Tensor) -> None:
        seen.ends.append(of_pieces(states, batch.attention_mask))

    handles = [
        layer.register_forward_pre_hook(at_layer, with_kwargs=True) for module in modules for layer in module
    ]
    for module in modules:
        if anatomy.pre_norm:
            handles.append(module[-1].register_forward_hook(lambda _, __, output: at_end(states_of(output))))
        else:
            norm = module[-1].get_submodule(anatomy.norms[-1])
            handles.append(norm.register_forward_pre_hook(lambda _, inputs: at_end(inputs[0])))
    try:
        model.base_model(**batch.inputs)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _fit(
    successor: nn.Module, last: nn.Module, number: int, anatomy: Anatomy, sample: Sequence[Seen]
) -> float:
    """Change the map W and the bias b of a successor by the D (N + 1, H) with the least

        sum over p of ||f_p D - r_p||^2 / var(t_p) + RIDGE * s * ||D||^2.

    f_p (N + 1) are its neurons at a word piece, and a one where there is a bias; t_p (H) is what it should put out
    there, r_p what lacks; s is the mean eigenvalue, of those that are not zero for want of word pieces, of the sum of
    f_p^T f_p / var(t_p). The variance is what a norm divides by.

    Returns the share of the squared differences that is left.
    """
    norm = anatomy.norms[-1]
    linear = _last_map(successor, anatomy)
    bias: torch.Tensor | None = linear.bias
    watched: dict[str, nn.Module] = {"neurons": linear}
    if not anatomy.pre_norm:
        successor.get_submodule(norm).load_state_dict(last.get_submodule(norm).state_dict())
        watched["end"] = successor.get_submodule(norm)
    gram, moment, lacking, pieces = torch.zeros(()), torch.zeros(()), 0.0, 0
    for seen in sample:
        caught: dict[str, torch.Tensor] = {}
        with inputs_seen(watched, caught.__setitem__):
            output = _call(successor, anatomy, seen)
        neurons = of_pieces(caught["neurons"], seen.mask)
        end = of_pieces(caught.get("end", states_of(output)), seen.mask)
        wanted = seen.ends[number]
        scale = 1 / wanted.std(dim=1, keepdim=True).clamp(min=1e-6)
        features = (neurons if bias is None else torch.cat([neurons, torch.ones_like(scale)], dim=1)) * scale
        lacks = (wanted - end) * scale
        gram = gram + (features.T @ features).double()
        moment = moment + (features.T @ lacks).double()
        lacking += float(lacks.double().square().sum())
        pieces += len(wanted)
    eigenvalue = gram.trace() / min(len(gram), pieces)
    held = gram + RIDGE * eigenvalue * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    change = torch.linalg.solve(held, moment)
    left = lacking - 2 * float((change * moment).sum()) + float((change * (gram @ change)).sum())
    linear.weight += change[: linear.in_features].T
    if bias is not None:
        bias += change[-1]
    return left / lacking if lacking else 0.0


def _last_map(layer: nn.Module, anatomy: Anatomy) -> nn.Linear:
    """The map from neurons back to hidden states; of one in two factors, the second, whose neurons are fewer."""
    linear = layer.get_submodule(anatomy.feed_forward[1])
    linear = linear.up if isinstance(linear, LowRankLinear) else linear
    assert isinstance(linear, nn.Linear)
    return linear


def _call(layer: nn.Module, anatomy: Anatomy, seen: Seen) -> Any:
    args, named = seen.given[_kind(layer, anatomy)]
    return layer(seen.states, *args, **named)


def _kind(layer: nn.Module, anatomy: Anatomy) -> str | None:
    return None if anatomy.kind is None else str(getattr(layer, anatomy.kind))


def _is_copy(successor: nn.Module, module: Sequence[nn.Module]) -> bool:
    """Whether a module is one layer, and the successor is the same."""
    if len(module) > 1:
        return False
    own, others = successor.state_dict(), module[0].state_dict()
    return own.keys() == others.keys() and all(torch.equal(own[name], others[name]) for name in own)
