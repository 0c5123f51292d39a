"""Takes out of an exported graph what costs time and changes nothing."""

import numpy as np
from onnx import NodeProto

from compression.export.graph import Graph, attributes

BY_POSITION = {
    "Add",
    "Attention",
    "Div",
    "Gelu",
    "LayerNormalization",
    "MatMul",
    "Mul",
    "Relu",
    "Sub",
    "Tanh",
}
"""What computes each word piece's states from its own alone; attention does so for its query."""


def make_lean(graph: Graph) -> None:
    """Attention that does not move its heads about; of the last layer, only what a classification head reads."""
    for attention in graph.of_type("Attention"):
        _attend_in_place(graph, attention)
    _compute_first_position_only(graph)


def _attend_in_place(graph: Graph, attention: NodeProto) -> None:
    """Give the operator states (B, L, H) and their number of heads, where the exporter gives (B, heads, L, d)."""
    split = [graph.maker(graph.maker(value).input[0]) for value in attention.input[:3]]
    merged = graph.only_user(graph.only_user(attention.output[0]).output[0])
    if {node.op_type for node in (*split, merged)} != {"Reshape"}:
        return
    heads = _heads(graph, split[0])
    if heads is None:
        return
    graph.nodes.remove(attention)
    graph.nodes.remove(merged)
    graph.add(
        "Attention",
        [*(node.input[0] for node in split), *attention.input[3:]],
        outputs=list(merged.output),
        q_num_heads=heads,
        kv_num_heads=heads,
        scale=attributes(attention)["scale"],
    )


def _heads(graph: Graph, split: NodeProto) -> int | None:
    """How many heads states are split into: their width, which a bias or a weight has too, over that of a head."""
    states, shape = graph.maker(split.input[0]), graph.maker(split.input[1])
    size = graph.constants.get(shape.input[-1]) if shape.op_type == "Concat" else None
    widths = [graph.constants[value].shape[-1] for value in states.input if value in graph.constants]
    return None if size is None or not widths else widths[0] // int(size.item())


def _compute_first_position_only(graph: Graph) -> None:
    """Select the first word piece where the last layer begins to be about it alone, not behind that layer.

    A classification head reads the states of the first position. The last layer's keys and values are needed at every
    position; its query, its feed-forward part and all between are not.
    """
    narrowed = _computed_for_one_position(graph)
    first = graph.constant(np.array([0]), "first")
    entries: dict[str, str] = {}
    for node in narrowed.values():
        for value in _states(graph, node) - narrowed.keys():
            if value not in entries:
                (entries[value],) = graph.add("Gather", [value, first], axis=1)
            node.input[list(node.input).index(value)] = entries[value]
        if node.op_type == "Attention" and graph.maker(node.input[3]).op_type == "Expand":
            node.input[3] = graph.maker(node.input[3]).input[0]  # one row of the mask, for the one query


def _computed_for_one_position(graph: Graph) -> dict[str, NodeProto]:
    """Nodes, by their output, of which nothing but the first position is ever read; backwards from the head."""
    nodes = graph.in_order()
    users: dict[str, list[NodeProto]] = {}
    for node in nodes:
        for value in node.input:
            users.setdefault(value, []).append(node)
    found: dict[str, NodeProto] = {}
    for node in reversed(nodes):
        value = node.output[0]
        if _states(graph, node) and all(
            _selects_first_position(graph, user)
            or (user.output[0] in found and value in _states(graph, user))
            for user in users.get(value, [node])
        ):
            found[value] = node
    return found


def _selects_first_position(graph: Graph, node: NodeProto) -> bool:
    if node.op_type != "Gather" or attributes(node).get("axis") != 1:
        return False
    index = graph.constants.get(node.input[1])
    return index is not None and index.shape == () and int(index) == 0


def _states(graph: Graph, node: NodeProto) -> set[str]:
    """Inputs (B, L, H) of which the node needs only the positions that are wanted of its output; none for others."""
    if node.op_type not in BY_POSITION or (node.op_type == "MatMul" and node.input[1] not in graph.constants):
        return set()
    if node.op_type == "Attention":
        return {node.input[0]} - set(node.input[1:])
    return {value for value in node.input if value not in graph.constants}
