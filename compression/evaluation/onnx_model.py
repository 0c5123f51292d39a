"""An ONNX file in ONNX Runtime that can be asked like a torch model, so that both are measured by the same code."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import torch
from torch import nn
from transformers import PretrainedConfig


class OnnxModel(nn.Module):
    """Takes a batch's inputs (B, L) and gives an object with the file's outputs by name, on the CPU."""

    def __init__(self, path: Path, config: PretrainedConfig, threads: int) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that spin while they wait take the cores from the models measured beside this one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]
        self.path, self.config, self.bytes = path, config, path.stat().st_size
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def reopened(self, threads: int) -> "OnnxModel":
        """The same file in a session of its own."""
        return OnnxModel(self.path, self.config, threads)

    def forward(self, **inputs: torch.Tensor) -> Any:
        pieces = inputs["input_ids"]
        absent = {"attention_mask": torch.ones_like, "token_type_ids": torch.zeros_like}
        given = {
            name: (inputs[name] if name in inputs else absent[name](pieces)).cpu().numpy()
            for name in self.inputs
        }
        values = map(torch.from_numpy, self.session.run(self.outputs, given))
        return SimpleNamespace(**dict(zip(self.outputs, values, strict=True)))
