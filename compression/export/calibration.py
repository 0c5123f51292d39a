"""Finds the ranges to which an 8-bit model rounds what its layers pass on."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import PretrainedConfig

from compression.data.batches import collate
from compression.data.encoding import Encoded
from compression.evaluation.onnx_model import OnnxModel
from compression.export.graph import Graph
from compression.export.int8 import Ranges, linear_layers
from compression.export.onnx_file import write_onnx

BATCH = 32


def find_ranges(graph: Graph, config: PretrainedConfig, rows: Encoded, count: int) -> Ranges:
    """Lowest and highest input of each layer's linear part on the first rows, zero among them: the mean over batches.

    The head's are not among them: they are one position each, where a range of their own costs nothing.
    """
    states = sorted({node.input[0] for node in linear_layers(graph)})
    # Two numbers of each, found while the model runs: all states of a batch together, and logits, take gigabytes.
    watched = [
        graph.add(extreme, [state], keepdims=0)[0]
        for state in states
        for extreme in ("ReduceMin", "ReduceMax")
    ]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "watched.onnx"
        write_onnx(graph, path, watched)
        model = OnnxModel(path, config, torch.get_num_threads())
        found = []
        for start in range(0, min(count, len(rows)), BATCH):
            chosen = np.arange(start, min(start + BATCH, count, len(rows)))
            values = vars(model(**collate(rows, chosen, model.device).inputs))
            extremes = np.reshape([float(values[name]) for name in watched], (-1, 2))
            found.append(np.stack([extremes.min(axis=1, initial=0), extremes.max(axis=1, initial=0)], axis=1))
    means = np.mean(found, axis=0)
    return {state: (float(low), float(high)) for state, (low, high) in zip(states, means, strict=True)}
