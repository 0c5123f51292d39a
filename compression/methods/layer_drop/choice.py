"""Which layers stay: by a rule, by what each contributes, or by trying it."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from compression.architectures import anatomy_of, states_of
from compression.context import Context, TaskData
from compression.data.batches import collate, epoch_batches
from compression.losses import masked_mean
from compression.methods.copies import copies_of, sources_of
from compression.methods.fitting import fit_successors
from compression.methods.layer_drop.params import RULES, LayerDropParams, Strategy, kept_by_rule
from compression.tasks.behaviour import behaviour_of
from compression.tasks.columns import goodness
from compression.training.trial import metric_now

SAMPLE_BATCHES, SAMPLE_BATCH = 32, 32
"""Training rows that tell what a layer contributes: about a thousand."""


def layers_to_keep(
    model: PreTrainedModel, data: TaskData, params: LayerDropParams, context: Context
) -> list[int]:
    """Indices of the layers that stay, lowest first."""
    layers = len(anatomy_of(model).layers_of(model))
    keep = params.depth(layers)
    if params.strategy == "best":
        return _best(model, data, params, layers, keep, context)
    if params.strategy == "contribution":
        similarities = layer_similarities(model, data, context)
        kept = least_similar(similarities, keep, params.threshold)
        found = ", ".join(f"{similarity:.3f}" for similarity in similarities)
        context.note(f"layer_drop: similarity of output and input by layer: {found}; layers kept: {kept}")
        if len(kept) == layers:
            context.warn("nothing_dropped", f"no layer is more similar to its input than {params.threshold}")
        return kept
    return kept_by_rule(params.strategy, layers, keep, fitted=params.fitted)


def layers_left(
    model: PreTrainedModel,
    kept: list[int],
    data: TaskData,
    params: LayerDropParams,
    context: Context,
    told_by: str | None = None,
) -> list[nn.Module]:
    """The layers with these indices, where that is asked for fitted to the whole model.

    Each stands for itself and those that go from right above it, the first one for those below it, too.
    """
    layers = list(anatomy_of(model).layers_of(model))
    if not params.fitted:
        return [layers[index] for index in kept]
    partition = [end - first for first, end in pairwise([0, *kept[1:], len(layers)])]
    copies = copies_of(model, sources_of(model, kept, partition, fitted=True))
    fit_successors(model, copies, partition, data, context, told_by)
    return copies


def _best(
    model: PreTrainedModel, data: TaskData, params: LayerDropParams, layers: int, keep: int, context: Context
) -> list[int]:
    """The layers that keep most of the metric before any training; of equals the first of the strategies."""
    anatomy = anatomy_of(model)
    whole = list(anatomy.layers_of(model))
    kept: dict[Strategy, list[int]] = {
        rule: kept_by_rule(rule, layers, keep, fitted=params.fitted) for rule in RULES
    }
    kept["contribution"] = least_similar(layer_similarities(model, data, context), keep, None)
    values: dict[Strategy, float] = {}
    for strategy, indices in kept.items():
        if len(indices) == keep:
            anatomy.put_layers(model, layers_left(model, indices, data, params, context))
            values[strategy] = metric_now(model, data, context)
            anatomy.put_layers(model, whole)
    context.tell(0, {f"untrained.{strategy}": value for strategy, value in values.items()})
    best = max(values, key=lambda strategy: goodness(data.metric, values[strategy]))
    found = ", ".join(f"{strategy} {value:.4f}" for strategy, value in values.items())
    context.note(f"layer_drop: {data.metric} before any training by strategy: {found}; kept: {best}")
    return kept[best]


@torch.inference_mode()
def layer_similarities(model: PreTrainedModel, data: TaskData, context: Context) -> list[float]:
    """Mean cosine of each layer's input and output vectors over about a thousand training rows (paper, section 3.2)."""
    sums = [0.0] * len(anatomy_of(model).layers_of(model))
    mask: torch.Tensor | None = None

    def compare(index: int, states: torch.Tensor, output: torch.Tensor) -> None:
        sums[index] += float(masked_mean(functional.cosine_similarity(states, output, dim=-1), mask))

    def hook(index: int) -> "torch.utils.hooks.RemovableHandle":
        layer: nn.Module = anatomy_of(model).layers_of(model)[index]
        return layer.register_forward_hook(
            lambda _layer, inputs, output: compare(index, inputs[0], states_of(output))
        )

    hooks = [hook(index) for index in range(len(sums))]
    batches = epoch_batches(data.train, SAMPLE_BATCH, context.seed, 0)[:SAMPLE_BATCHES]
    try:
        for rows in batches:
            batch = collate(data.train, rows, context.device)
            mask = batch.attention_mask
            behaviour_of(data.task).logits(model, batch)
            context.stop_if_requested()
    finally:
        for handle in hooks:
            handle.remove()
    return [total / len(batches) for total in sums]


def least_similar(similarities: list[float], keep: int, threshold: float | None) -> list[int]:
    """The layers that change their input most: `keep` of them, or more where fewer others pass the threshold."""
    order = sorted(range(len(similarities)), key=lambda index: similarities[index], reverse=True)
    dropped = order[: len(similarities) - keep]
    if threshold is not None:
        dropped = [index for index in dropped if similarities[index] > threshold]
    return [index for index in range(len(similarities)) if index not in dropped]
