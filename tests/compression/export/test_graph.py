"""Graphs without a model."""

from itertools import pairwise
from typing import Any

from onnx import TensorProto, helper

from compression.export.graph import Graph


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
