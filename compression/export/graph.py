"""An ONNX graph that can be edited: nodes come and go in any order, and what nobody uses is left out at the end."""

import ast
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]


class Graph:
    """The nodes of a model, and its constants by name."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.modules = {node.output[0]: path for node in self.nodes if (path := _module(node))}
        """Path of the module that computes a value, as far as the exporter tells."""
        self._numbers = count()

    def of_type(self, *types: str) -> list[NodeProto]:
        return [node for node in self.nodes if node.op_type in types]

    def maker(self, value: str) -> NodeProto:
        """The node that a value comes from; an empty one for constants and inputs of the model."""
        return next((node for node in self.nodes if value in node.output), NodeProto())

    def only_user(self, value: str) -> NodeProto:
        """The node that uses a value; an empty one where there are several or none."""
        users = [node for node in self.nodes if value in node.input]
        return users[0] if len(users) == 1 else NodeProto()

    def constant(self, array: Array, stem: str) -> str:
        name = self._name(stem)
        self.constants[name] = np.asarray(array, order="C")  # a scalar stays one
        return name

    def add(
        self, operator: str, inputs: list[str], *, outputs: int | list[str] = 1, **attributes: Any
    ) -> list[str]:
        """A new node; the names of its outputs, new ones where only their number is given."""
        names = [self._name(operator) for _ in range(outputs)] if isinstance(outputs, int) else outputs
        self.nodes.append(helper.make_node(operator, inputs, names, names[0], **attributes))
        return names

    def in_order(self, watched: Sequence[str] = ()) -> list[NodeProto]:
        """The nodes that lead to the outputs, or to what is `watched` in their place, each after those it needs."""
        makers = {output: node for node in self.nodes for output in node.output}
        values = watched or [output.name for output in self.model.graph.output]
        ordered: dict[str, NodeProto] = {}
        # No recursion: a model of many layers is deeper than Python calls may be.
        waiting = [makers[value] for value in reversed(values)]
        while waiting:
            node = waiting[-1]
            needed = [makers[value] for value in node.input if value in makers]
            if missing := [maker for maker in needed if maker.output[0] not in ordered]:
                waiting += reversed(missing)
            else:
                ordered[node.output[0]] = waiting.pop()
        return list(ordered.values())

    def to_model(self, watched: Sequence[str] = ()) -> ModelProto:
        """The model with nothing in it that names a source file or a machine, nor shapes that are out of date.

        `watched` are values in float32 that it gives in place of its outputs.
        """
        nodes = self.in_order(watched)
        for node in nodes:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
        used = {value for node in nodes for value in node.input}
        constants = [
            numpy_helper.from_array(array, name) for name, array in self.constants.items() if name in used
        ]
        inputs = list(self.model.graph.input)
        infos = [helper.make_tensor_value_info(value, TensorProto.FLOAT, None) for value in watched]
        outputs = infos or list(self.model.graph.output)
        return helper.make_model(
            helper.make_graph(nodes, "plankwright", inputs, outputs, constants),
            opset_imports=list(self.model.opset_import),
            ir_version=self.model.ir_version,
            producer_name="plankwright",
        )

    def _name(self, stem: str) -> str:
        return f"{stem}.{next(self._numbers)}"


def _module(node: NodeProto) -> str:
    """The exporter notes what is around a node: '', then what the model is called, modules in it, the operation."""
    (scopes,) = [p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"] or ["[]"]
    _, _, path = "".join(ast.literal_eval(scopes)[-2:-1]).partition(".")
    return path


def attributes(node: NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
