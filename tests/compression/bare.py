"""Models, rows and contexts for parts of a method that are tried without a run, and what transformers shows of them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from compression.checkpoints.loading import load_model, open_source
from compression.context import Context, TaskData
from compression.data.batches import Batch, collate
from compression.data.encoding import Encoded
from compression.events import EventWriter
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.encoded import classification, of_rows

CPU = torch.device("cpu")
SURE: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
"""What BERT's config says where no dropout shall blur numbers."""
TWO_ROWS = of_rows(classification(), np.array([1, 0]), [3, 5])
BATCH = collate(TWO_ROWS, np.array([0, 1]), CPU)


def load(folder: Path, layers: int, seed: int, **config: Any) -> PreTrainedModel:
    """A BERT with random weights and without dropout, in training mode, whose norms do not all give the same size."""
    source = open_source(make_tiny_checkpoint(folder, layers=layers, seed=seed, **SURE | config))
    model = load_model(source.folder, source.facts, CPU)
    draw = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.weight.data.add_(torch.randn(module.weight.shape, generator=draw), alpha=0.3)
            module.bias.data.add_(torch.randn(module.bias.shape, generator=draw), alpha=0.3)
    model.train()
    return model


def context_of(folder: Path) -> Context:
    """The context of a run whose source is the checkpoint in a folder."""
    return Context(
        source=open_source(folder), device=CPU, dtype=torch.float32, seed=0, emit=EventWriter(io.StringIO()),
        stop_requested=lambda: False, checkpoint_folder=folder, checkpoint_seconds=600, total_steps=1000,
    )  # fmt: skip


def data_of(rows: Encoded, selection: Encoded | None = None, **how: Any) -> TaskData:
    return TaskData(rows.task, "accuracy", rows, selection, rows, **how)


def hidden(model: PreTrainedModel, layer: int, batch: Batch = BATCH) -> torch.Tensor:
    """States after a layer, counted from 1; 0 stands for the embeddings."""
    states: torch.Tensor = model(**batch.inputs, output_hidden_states=True).hidden_states[layer]
    return states


def scores(model: PreTrainedModel, layer: int, batch: Batch = BATCH) -> torch.Tensor:
    """Attention scores of a layer before the softmax."""
    attention = model.get_submodule(f"bert.encoder.layer.{layer - 1}.attention.self")
    heads = int(model.config.num_attention_heads)
    query, key = (
        getattr(attention, name)(hidden(model, layer - 1, batch)).unflatten(-1, (heads, -1)).transpose(1, 2)
        for name in ("query", "key")
    )
    found: torch.Tensor = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
    return found
