"""Successors that are smaller than the layers they start from: with fewer neurons, or with factors for matrices."""

from collections.abc import Callable, Sequence

from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.plankwright_model import exchange
from compression.context import Context, TaskData
from compression.methods.copies import Source
from compression.methods.layer_choice import LayerChoice
from compression.methods.low_rank.factors import factorise, put_factors, ranks_within
from compression.methods.low_rank.params import LowRankParams
from compression.methods.low_rank.weighting import scales
from compression.methods.narrow.importance import best_neurons, importance_of
from compression.methods.narrow.units import Layer
from compression.methods.theseus.params import TheseusParams

ROWS = 512
"""Training rows that neurons are scored on."""
Lessen = Callable[[LayerChoice, Sequence[Source], Sequence[nn.Module]], None]
"""Makes layers that are made of these smaller in place; the choice is what named them."""


def smaller_successors(
    model: PreTrainedModel, data: TaskData, params: TheseusParams, context: Context
) -> Lessen | None:
    """What makes successors of the whole predecessor smaller, as the params say; None where they stay whole."""
    if params.successor_intermediate_size is not None:
        return _with_fewer_neurons(model, data, params.successor_intermediate_size, context)
    if params.successor_keep_share is not None:
        return _with_factors(model, data, params.successor_keep_share, context)
    return None


def _with_fewer_neurons(model: PreTrainedModel, data: TaskData, count: int, context: Context) -> Lessen:
    """The neurons of largest first-order importance in the predecessor stay, as in the method `narrow`."""
    anatomy = anatomy_of(model)
    layers = [Layer(layer, anatomy) for layer in anatomy.layers_of(model)]

    def choose() -> list[list[int]]:
        return best_neurons(importance_of(model, layers, data, ROWS, context, 0).neurons, count)

    kept = context.decide("neurons", choose)

    def lessen(choice: LayerChoice, sources: Sequence[Source], successors: Sequence[nn.Module]) -> None:
        for source, successor in zip(sources, successors, strict=True):
            Layer(successor, anatomy).keep_neurons(kept[source.neurons])

    return lessen


def _with_factors(model: PreTrainedModel, data: TaskData, keep_share: float, context: Context) -> Lessen:
    """Weighted SVD of the predecessor's matrices with one budget for all successors, as in the method `low_rank`."""
    anatomy = anatomy_of(model)
    whole = anatomy.matrices_of(model, embeddings=False)
    weights = scales(model, whole, data, LowRankParams(), context)

    def lessen(choice: LayerChoice, sources: Sequence[Source], successors: Sequence[nn.Module]) -> None:
        of_successor = {}
        for number, (source, successor) in enumerate(zip(sources, successors, strict=True)):
            for path, module in successor.named_modules():
                if isinstance(module, nn.Linear):
                    layer = source.neurons if path in anatomy.feed_forward else source.attention
                    factors = factorise(module, *weights[f"{anatomy.layers}.{layer}.{path}"])
                    of_successor[f"{number}.{path}"] = factors
                    context.stop_if_requested()
        ranks = context.decide(f"ranks from {choice}", lambda: ranks_within(of_successor, keep_share))
        together = nn.ModuleList(successors)
        exchange(together, ranks)
        for path, rank in ranks.items():
            put_factors(together.get_submodule(path), of_successor[path], rank)

    return lessen
