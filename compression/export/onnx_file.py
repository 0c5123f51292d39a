"""Writes a model as one ONNX file: no weights beside it, no trace of the machine it was made on."""

import inspect
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from onnx import ModelProto
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from compression.architectures import anatomy_of
from compression.export.graph import Graph
from compression.export.lstm import lstms_as_operators

OUTPUTS = ("logits", "last_hidden_state")
"""What the outputs of models that count are called, or end in."""
OPSET = 23
"""The first that has attention as one operator."""

logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses packages that no text model needs


class _Exported(nn.Module):
    """The model with inputs (B, L) and outputs in a fixed order, as the file has them."""

    def __init__(self, model: PreTrainedModel, inputs: list[str], outputs: list[str]) -> None:
        super().__init__()
        self.model = model
        self.inputs, self.outputs = inputs, outputs

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        inputs = dict(zip(self.inputs, values, strict=True))
        anatomy, (rows, length) = anatomy_of(self.model), inputs["input_ids"].shape
        if anatomy.rotary:
            # The operator of the standard wants the positions of every row.
            inputs["position_ids"] = torch.arange(length)[None, :].expand(rows, -1)
        if not anatomy.own_mask:
            # A mask of four dimensions is taken as it is; from one of two, transformers makes a dozen operators.
            mask = (inputs["attention_mask"] != 0)[:, None, None, :]
            inputs["attention_mask"] = mask.expand(-1, 1, length, -1)
        results = self.model(**inputs)
        return tuple(results[name] for name in self.outputs)


def export_graph(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, max_length: int) -> ModelProto:
    """The model as an ONNX graph for any number of rows of any length that fits it.

    Its inputs are what the tokenizer gives and the model takes, int64 (B, L); its outputs the model's
    logits, or its last states.
    """
    taken = inspect.signature(type(model).forward).parameters
    names = [
        "input_ids",
        "attention_mask",
        *{"token_type_ids"}.intersection(taken, tokenizer.model_input_names),
    ]
    example = {name: torch.ones(2, min(8, max_length), dtype=torch.int64) for name in names}
    model.eval()
    with torch.inference_mode():
        outputs = [name for name in model(**example).keys() if name.endswith(OUTPUTS)]  # noqa: SIM118  # no dict
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=max_length)}
    with warnings.catch_warnings(), lstms_as_operators(model):
        warnings.simplefilter("ignore")  # of torch about torch
        program = torch.onnx.export(
            _Exported(model, names, outputs).eval(),  # one in training mode would leave the model in it
            tuple(example.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=outputs,
            dynamic_shapes={"values": (sizes,) * len(names)},
            verbose=False,
        )
    assert program is not None, "only where a file is asked for"
    return program.model_proto


def write_onnx(graph: Graph, path: Path, watched: Sequence[str] = ()) -> None:
    path.write_bytes(graph.to_model(watched).SerializeToString(deterministic=True))
