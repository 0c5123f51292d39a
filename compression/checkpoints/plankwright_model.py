"""Loads a model whose weights are stored factorised or packed. Needs torch, transformers and safetensors, no more.

    from plankwright_model import load

    model = load("folder of the checkpoint")

`plankwright` in config.json tells the form. `low_rank` maps the path of each factorised linear map or embedding table
to its rank r: a weight (O, I) is stored as `up` (O, r) and `down` (r, I), a table (V, H) as `down` (V, r) and `up`
(H, r). Where `packed` is true, a tensor may be stored as `NAME.mask`, one bit for each element, the first in the lowest
bit, and `NAME.values`, the elements whose bit is set.
"""

import inspect
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from torch import nn
from transformers.pytorch_utils import Conv1D

WEIGHTS = "plankwright.safetensors"


class LowRankLinear(nn.Module):
    """x (..., I) to up(down(x)) (..., O): the weight is the product of two of rank r."""

    def __init__(self, inputs: int, outputs: int, rank: int, bias: bool) -> None:
        super().__init__()
        self.rank = rank
        self.down = nn.Linear(inputs, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.up(self.down(states))
        return result


class LowRankEmbedding(nn.Module):
    """Ids (...) to vectors (..., H), from a table of vectors of length r."""

    def __init__(self, rows: int, width: int, rank: int, padding_row: int | None) -> None:
        super().__init__()
        self.rank = rank
        self.down = nn.Embedding(rows, rank, padding_idx=padding_row)
        self.up = nn.Linear(rank, width, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.up(self.down(ids))
        return result


def load(folder: str | Path) -> Any:
    """The model as the transformers class that its config names, in float32 and evaluation mode."""
    folder = Path(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    model = build(getattr(transformers, config.architectures[0]), config)
    exchange(model, config.plankwright["low_rank"])
    model.load_state_dict(unpacked(load_file(folder / WEIGHTS), model))
    return model.eval()


def build(model_class: Any, config: Any) -> Any:
    """A new model; a plain encoder without its pooler, which reads the first state alone, and nobody reads."""
    return model_class(config, **options(model_class))


def options(model_class: Any) -> dict[str, Any]:
    has_pooler = "add_pooling_layer" in inspect.signature(model_class).parameters
    return {"add_pooling_layer": False} if has_pooler else {}


def exchange(model: nn.Module, ranks: dict[str, int]) -> None:
    """Put factorised modules, with weights still to come, in the place of whole ones."""
    for path, rank in ranks.items():
        whole = model.get_submodule(path)
        factorised: nn.Module
        if isinstance(whole, nn.Embedding):
            factorised = LowRankEmbedding(whole.num_embeddings, whole.embedding_dim, rank, whole.padding_idx)
        elif isinstance(whole, nn.Linear):
            factorised = LowRankLinear(whole.in_features, whole.out_features, rank, whole.bias is not None)
        elif isinstance(whole, Conv1D):
            factorised = LowRankLinear(whole.nx, whole.nf, rank, bias=True)
        else:
            raise ValueError(f"{path} is no linear map and no table")
        model.set_submodule(path, factorised)


def unpacked(stored: dict[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """Whole float32 tensors, in the shapes of the model's."""
    whole = {}
    tied: dict[str, str] = getattr(model, "all_tied_weights_keys", {})
    for name, tensor in model.state_dict().items():
        key = tied.get(name, name)  # tied weights are stored once
        if f"{key}.mask" not in stored:
            whole[name] = stored[key].float()
            continue
        bits = stored[f"{key}.mask"].unsqueeze(1) >> torch.arange(8, dtype=torch.uint8) & 1
        full = torch.zeros(tensor.numel())
        full[bits.flatten()[: tensor.numel()].bool()] = stored[f"{key}.values"].float()
        whole[name] = full.view(tensor.shape)
    return whole


def packed(whole: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors as they are stored: with a mask and values where that takes fewer bytes."""
    stored = {}
    for name, tensor in whole.items():
        flat = tensor.flatten()
        values = flat[flat != 0]
        if len(values) * tensor.element_size() + len(flat) // 8 + 1 >= len(flat) * tensor.element_size():
            stored[name] = tensor
            continue
        bits = torch.zeros(-(-len(flat) // 8) * 8, dtype=torch.uint8)
        bits[: len(flat)] = flat != 0
        powers = 1 << torch.arange(8, dtype=torch.uint8)
        stored[f"{name}.mask"] = (bits.view(-1, 8) * powers).sum(dim=1, dtype=torch.uint8)
        stored[f"{name}.values"] = values
    return stored
