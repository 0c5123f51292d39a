"""Static ranges: whose states they are about, and where they go in a graph."""

from pathlib import Path

import numpy as np
import pytest
import torch

from compression.architectures import anatomy_of
from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.loading import load_model, open_source
from compression.data.batches import collate, epoch_batches
from compression.evaluation.onnx_model import OnnxModel
from compression.export.calibration import BATCH, by_state, find_ranges
from compression.export.graph import Graph
from compression.export.int8 import linear_layers, quantize
from compression.export.lean import make_lean
from compression.export.onnx_file import export_graph, write_onnx
from compression.methods.quantize.rounded import learn_rounded
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.encoded import classification, of_rows

CPU = torch.device("cpu")
ROWS = of_rows(classification(), np.zeros(60, dtype=np.int64), [3 + row % 7 for row in range(60)])


def test_ranges_are_those_of_the_pieces_of_a_random_sample(tmp_path: Path) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "source", layers=2))
    model = load_model(source.folder, source.facts, CPU)
    anatomy_of(model).word_embeddings_of(model).weight.data[0] *= 30  # padding: nobody's states
    ranges = find_ranges(model, ROWS, 50, seed=3)

    sample = epoch_batches(ROWS, BATCH, 3, 0, by_length=False)
    extremes = []
    for chosen in (sample[0], sample[1][: 50 - BATCH]):
        states = []
        for row in chosen:
            inputs = collate(ROWS, np.array([row]), CPU).inputs
            with torch.no_grad():
                first, second, _ = model(**inputs, output_hidden_states=True).hidden_states
            states.append((first, second, second[:, :1]))
        extremes.append(
            [
                (min(min(float(s.min()) for s in of_rows), 0), max(max(float(s.max()) for s in of_rows), 0))
                for of_rows in zip(*states, strict=True)
            ]
        )
    layer = "bert.encoder.layer"
    for path, expected in zip(
        (
            f"{layer}.0.attention.self.query",
            f"{layer}.1.attention.self.key",
            f"{layer}.1.attention.self.query",
        ),
        np.mean(extremes, axis=0),
        strict=True,
    ):  # of the last layer's queries the first piece's alone are ever used
        np.testing.assert_allclose(ranges[path], [expected], rtol=1e-4)
    assert not {"bert.pooler.dense", "classifier"} & ranges.keys()
    assert find_ranges(model, ROWS, 50, seed=4) != ranges


@pytest.mark.parametrize(
    ("architecture", "task", "layers"),
    [
        ("albert", "text-classification", 2),  # one layer is called several times
        ("deberta-v2", "token-classification", 1),  # a map is called for states and for positions
        ("gpt2", "text-generation", 1),  # logits are read from the table
    ],
)
def test_the_file_rounds_as_the_model_does_in_training(
    tmp_path: Path, architecture: Architecture, task: TaskType, layers: int
) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "source", architecture, task=task, layers=layers))
    model = load_model(source.folder, source.facts, CPU)
    ranges = find_ranges(model, ROWS, 40, seed=0)
    graph = Graph(export_graph(model, source.tokenizer, source.facts.max_length))
    make_lean(graph)
    expected = {node.input[0] for node in linear_layers(graph)}
    states = by_state(graph, ranges)
    assert states.keys() == expected
    quantize(graph, states)
    write_onnx(graph, tmp_path / "model.onnx")
    learn_rounded(model, ranges)
    inputs = collate(ROWS, np.arange(7, 14), CPU).inputs
    real = inputs["attention_mask"] != 0
    found, trained = (
        either(**inputs).logits.detach()
        for either in (OnnxModel(tmp_path / "model.onnx", model.config, 1), model)
    )
    if found.ndim == 3:
        found, trained = found[real], trained[real]
    torch.testing.assert_close(found, trained, atol=1e-5, rtol=1e-4)
