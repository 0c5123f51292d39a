"""Graphs without a model: their nodes, and the ranges of the states in them."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from transformers import PretrainedConfig

from compression.evaluation.onnx_model import OnnxModel
from compression.export import calibration
from compression.export.calibration import BATCH, find_ranges
from compression.export.graph import Graph
from compression.export.int8 import linear_layers
from tests.compression.encoded import classification, of_rows


def make_graph(nodes: list[Any], constants: dict[str, Any]) -> Graph:
    """From `input_ids` (B, L) to `logits`."""
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(nodes, "test", [ids], [logits]),
        opset_imports=[helper.make_opsetid("", 23)],
        ir_version=10,
    )
    graph = Graph(model)
    graph.constants |= constants
    return graph


def test_nodes_are_put_in_order_however_many_stand_one_behind_another() -> None:
    """Those that lead to an output alone, what is needed first before what is needed next."""
    values = ["input_ids", *(f"value.{i}" for i in range(5000))]
    chain = [helper.make_node("Relu", [a], [b]) for a, b in pairwise(values)]
    side = helper.make_node("Neg", [values[2]], ["side"])
    unused = helper.make_node("Neg", [values[3]], ["unused"])
    end = helper.make_node("Add", [values[-1], "side"], ["logits"])
    graph = make_graph([end, unused, side, *reversed(chain)], {})
    assert graph.in_order() == [*chain, side, end]


def test_ranges_are_found_without_keeping_states_or_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    table, first, second = (
        draw.normal(size=size).astype(np.float32) for size in ((50, 4), (4, 3), (3, 1000))
    )
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["states"]),
        helper.make_node("MatMul", ["states", "first"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "second"], ["logits"]),
    ]
    graph = make_graph(nodes, {"table": table, "first": first, "second": second})
    given: list[Any] = []

    class Watched(OnnxModel):
        def forward(self, **inputs: Any) -> Any:
            outputs = super().forward(**inputs)
            given.extend(vars(outputs).values())
            return outputs

    monkeypatch.setattr(calibration, "OnnxModel", Watched)
    rows = of_rows(classification(), np.zeros(45, dtype=np.int64))
    ranges = find_ranges(graph, PretrainedConfig(), rows, 40)

    assert {value.numel() for value in given} == {1}
    batches = table[1 : BATCH + 1], table[BATCH + 1 : 41]
    for name, states in (("states", batches), ("hidden", [batch @ first for batch in batches])):
        lowest, highest = ([min(0, x.min()) for x in states], [max(0, x.max()) for x in states])
        np.testing.assert_allclose(ranges[name], [np.mean(lowest), np.mean(highest)], rtol=1e-5)
    assert [node.op_type for node in graph.in_order()] == ["Gather", "MatMul", "MatMul"]
    assert len(linear_layers(graph)) == 2
