"""Turns an ONNX graph of float32 into one that multiplies in 8 bits, in operators of the standard; but for LSTMs, which
have none there: theirs is ONNX Runtime's own.

Weights are rounded once, with a scale for each output of a linear layer and for each row of an embedding table. The
inputs of linear layers are rounded while the model runs: to the range that they have in the batch at hand, or to one
that was found beforehand.
"""

import numpy as np
from onnx import NodeProto, TensorProto, helper

from compression.export.graph import Array, Graph, attributes

LEAST_ROWS = 64
"""An embedding table with fewer is not worth the operators it takes."""
RUNTIME = "com.microsoft"
"""The operators that ONNX Runtime has beside those of the standard."""
Ranges = dict[str, tuple[float, float]]
"""Lowest and highest value of states that linear layers take."""


def quantize(graph: Graph, ranges: Ranges) -> None:
    """Put 8-bit weights and products in the place of those in float32. States without a range have each batch's."""
    _write_gemm_as_matmul(graph)
    weights: dict[str, tuple[str, str]] = {}
    states: dict[str, list[str]] = {}
    for node in linear_layers(graph):
        source, weight = node.input
        if weight not in weights:
            weights[weight] = _store(graph, weight, axis=0)
        if source not in states:
            states[source] = (
                _round_to(graph, source, ranges[source]) if source in ranges else _round(graph, source)
            )
        graph.nodes.remove(node)
        multiply = _multiply_in_floats if source in ranges else _multiply
        multiply(graph, states[source], weights[weight], list(node.output))
    _quantize_lstms(graph)
    _quantize_embeddings(graph)


def _round(graph: Graph, source: str) -> list[str]:
    return graph.add("DynamicQuantizeLinear", [source], outputs=3)


def _multiply(graph: Graph, states: list[str], weight: tuple[str, str], outputs: list[str]) -> None:
    (integers, scale, zero_point), (values, scales) = states, weight
    (product,) = graph.add("MatMulInteger", [integers, values, zero_point])
    (product,) = graph.add("Cast", [product], to=TensorProto.FLOAT)
    (unit,) = graph.add("Mul", [scale, scales])
    graph.add("Mul", [product, unit], outputs=outputs)


def _round_to(graph: Graph, source: str, bounds: tuple[float, float]) -> list[str]:
    lowest, highest = bounds
    scale = np.float32(max(highest - lowest, 1e-12) / 255)
    zero_point = np.uint8(round(-lowest / scale))
    unit = [graph.constant(np.array(scale), "scale"), graph.constant(np.array(zero_point), "zero_point")]
    return graph.add("DequantizeLinear", [*graph.add("QuantizeLinear", [source, *unit]), *unit])


def _multiply_in_floats(graph: Graph, states: list[str], weight: tuple[str, str], outputs: list[str]) -> None:
    """The standard's way to write it: a runtime sees the rounding on both sides, and multiplies integers."""
    graph.add("MatMul", [*states, *graph.add("DequantizeLinear", list(weight), axis=1)], outputs=outputs)


def _quantize_lstms(graph: Graph) -> None:
    """Weights (2, I, 4H) and (2, H, 4H) with a scale for each output; what they are multiplied with has each step's."""
    if lstms := graph.of_type("LSTM"):
        graph.model.opset_import.append(helper.make_opsetid(RUNTIME, 1))
    for node in lstms:
        states, inputs, recurrence, bias, lengths = node.input
        weights, units = list[str](), list[str]()
        for name in (inputs, recurrence):
            values, scales = round_weights(graph.constants[name].transpose(0, 2, 1), axis=1)
            weights.append(graph.constant(values, name))
            units.append(graph.constant(scales[:, 0], f"{name}.scale"))
            units.append(graph.constant(np.zeros_like(scales[:, 0], dtype=np.int8), f"{name}.zero_point"))
        graph.nodes.remove(node)
        graph.add(
            "DynamicQuantizeLSTM",
            [states, *weights, bias, lengths, "", "", "", *units],
            outputs=list(node.output),
            domain=RUNTIME,
            **attributes(node),
        )


def _quantize_embeddings(graph: Graph) -> None:
    tables: dict[str, tuple[str, str]] = {}
    for node in graph.of_type("Gather"):
        table, index = node.input
        if table not in graph.constants or len(graph.constants[table]) < LEAST_ROWS:
            continue
        if table not in tables:
            tables[table] = _store(graph, table, axis=1)
        graph.nodes.remove(node)
        values, scales = (graph.add("Gather", [part, index], axis=0)[0] for part in tables[table])
        (values,) = graph.add("Cast", [values], to=TensorProto.FLOAT)
        graph.add("Mul", [values, scales], outputs=list(node.output))


def _write_gemm_as_matmul(graph: Graph) -> None:
    """The operators of a head, which has no positions: the same as those of a layer."""
    for node in graph.of_type("Gemm"):
        states, weight, *bias = node.input
        assert attributes(node).get("transB"), "the exporter writes linear layers so"
        graph.nodes.remove(node)
        product = graph.add(
            "MatMul",
            [states, graph.constant(graph.constants[weight].T, weight)],
            outputs=1 if bias else list(node.output),
        )
        if bias:
            graph.add("Add", [*product, *bias], outputs=list(node.output))


def linear_layers(graph: Graph) -> list[NodeProto]:
    return [node for node in graph.of_type("MatMul") if node.input[1] in graph.constants]


def round_weights(weights: Array, axis: int) -> tuple[Array, Array]:
    """Weights as int8, and the scales along `axis` that give them back: symmetric, -127 to 127."""
    largest = np.abs(weights).max(axis=axis, keepdims=True)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(weights / scales).astype(np.int8), scales


def _store(graph: Graph, weight: str, axis: int) -> tuple[str, str]:
    values, scales = round_weights(graph.constants[weight], axis)
    return graph.constant(values, weight), graph.constant(scales if axis else scales[0], f"{weight}.scale")
