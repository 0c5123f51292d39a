"""Loads a model that is not transformers' own: in its weights' form, or as a whole. Needs torch, transformers and
safetensors, no more.

    from plankwright_model import load

    model = load("folder of the checkpoint")

`plankwright` in config.json tells the form. `sizes` maps the path of each linear map of a layer whose attention has
fewer heads than the config says to its inputs and outputs. `low_rank` maps the path of each factorised linear map or
embedding table to its rank r: a weight (O, I) is stored as `up` (O, r) and `down` (r, I), a table (V, H) as `down` (V,
r) and `up` (H, r). Where `packed` is true, a tensor may be stored as `NAME.mask`, one bit for each element, the first
in the lowest bit, and `NAME.values`, the elements whose bit is set. `bits` maps the name of each tensor that is stored
in few bits to their number b: `NAME.codes` has the codes 0 to 2^b - 1 of its elements (or of those whose bit in the
mask is set) one behind the other, the first in the lowest bits, with a multiple of eight codes; `NAME.scales` a number
s for each group of `group_size` elements in a row, of which the last may be shorter. The element is s (code - (2^b -
1) / 2).

The model type `bilstm` is defined here: once this is imported, transformers' Auto classes know it.
"""

import inspect
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from transformers.modeling_outputs import SequenceClassifierOutput, TokenClassifierOutput
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


class BiLstmConfig(transformers.PretrainedConfig):
    """Layers of LSTMs in both directions, each with states of `hidden_size` numbers, over a table of word pieces.

    Where there is a `sep_token_id`, the head compares the text before its first occurrence with the one behind it.
    """

    model_type = "bilstm"

    vocab_size: int = 30522
    embedding_size: int = 128
    hidden_size: int = 256
    num_hidden_layers: int = 1
    dropout: float = 0.1
    max_position_embeddings: int = 512
    initializer_range: float = 0.05
    pad_token_id: int | None = 0
    sep_token_id: int | None = None


class BiLstmLayer(nn.Module):
    """States (B, L, I), of which each row's first `lengths` (B,) count, to states (B, L, 2H), between -1 and 1."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(inputs, width, batch_first=True)
        self.backwards = nn.LSTM(inputs, width, batch_first=True)

    def forward(self, states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        behind, _ = self.backwards(turned(states, lengths))
        return torch.cat([self.forwards(states)[0], turned(behind, lengths)], dim=-1)


def turned(states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """States (B, L, H) with the first `lengths` (B,) of each row in reverse: what pads a row stays behind it."""
    places, last = torch.arange(states.shape[1], device=states.device), lengths[:, None] - 1
    places = torch.where(places <= last, last - places, places)
    return states.gather(1, places[:, :, None].expand(states.shape))


class BiLstmEncoder(nn.Module):
    """Word pieces (B, L) to states (B, L, 2H)."""

    def __init__(self, config: BiLstmConfig) -> None:
        super().__init__()
        widths = [config.embedding_size, *[2 * config.hidden_size] * (config.num_hidden_layers - 1)]
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(BiLstmLayer(width, config.hidden_size) for width in widths)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self.embeddings(input_ids)
        lengths = attention_mask.sum(dim=1)
        for layer in self.layers:
            states = layer(self.dropout(states), lengths)
        return states


class BiLstmForSequenceClassification(transformers.PreTrainedModel):
    """The highest of each number of the states over a text; of two texts u and v [u, v, |u - v|, u * v] (Conneau et al.
    2017, section 3.1)."""

    config_class = BiLstmConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        width = 2 * config.hidden_size
        self.lstm = BiLstmEncoder(config)
        self.dense = nn.Linear(width if config.sep_token_id is None else 4 * width, width)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(width, config.num_labels)
        self.post_init()  # type: ignore[no-untyped-call]  # transformers'

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
    ) -> SequenceClassifierOutput:
        """Logits (B, C) of word pieces (B, L), padded at the end of a row."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        states = self.lstm(input_ids, mask)
        if self.config.sep_token_id is None:
            text = highest(states, mask != 0)
        else:
            ends = (input_ids == self.config.sep_token_id).long()
            second = ends.cumsum(dim=1) > ends
            u, v = highest(states, (mask != 0) & ~second), highest(states, (mask != 0) & second)
            text = torch.cat([u, v, (u - v).abs(), u * v], dim=-1)
        hidden = torch.relu(self.dense(self.dropout(text)))
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(hidden)))


def highest(states: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The highest of the states (B, L, H) over the `wanted` (B, L) positions; -1, which none is below, without any."""
    return states.masked_fill(~wanted[:, :, None], -1.0).amax(dim=1)


class BiLstmForTokenClassification(transformers.PreTrainedModel):
    """A linear map of the states of each word piece."""

    config_class = BiLstmConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.lstm = BiLstmEncoder(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(2 * config.hidden_size, config.num_labels)
        self.post_init()  # type: ignore[no-untyped-call]  # transformers'

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
    ) -> TokenClassifierOutput:
        """Logits (B, L, C) of word pieces (B, L), padded at the end of a row."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return TokenClassifierOutput(logits=self.classifier(self.dropout(self.lstm(input_ids, mask))))


transformers.AutoConfig.register("bilstm", BiLstmConfig, exist_ok=True)
transformers.AutoModelForSequenceClassification.register(
    BiLstmConfig, BiLstmForSequenceClassification, exist_ok=True
)
transformers.AutoModelForTokenClassification.register(
    BiLstmConfig, BiLstmForTokenClassification, exist_ok=True
)


def load(folder: str | Path) -> Any:
    """The model as the transformers class that its config names, in float32 and evaluation mode."""
    folder = Path(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    model_class = class_named(config.architectures[0])
    if not (folder / WEIGHTS).exists():
        return model_class.from_pretrained(folder, dtype=torch.float32).eval()
    model = build(model_class, config)
    resize(model, config.plankwright.get("sizes", {}))
    exchange(model, config.plankwright["low_rank"])
    model.load_state_dict(unpacked(load_file(folder / WEIGHTS), model, config.plankwright))
    return model.eval()


def class_named(name: str) -> Any:
    """A class that is defined here, or else in transformers."""
    return globals().get(name) or getattr(transformers, name)


def build(model_class: Any, config: Any) -> Any:
    """A new model; a plain encoder without its pooler, which reads the first state alone, and nobody reads."""
    return model_class(config, **options(model_class))


def options(model_class: Any) -> dict[str, Any]:
    has_pooler = "add_pooling_layer" in inspect.signature(model_class).parameters
    return {"add_pooling_layer": False} if has_pooler else {}


def resize(model: nn.Module, sizes: dict[str, tuple[int, int]]) -> None:
    """Put linear maps of other sizes, with weights still to come, in the place of the architecture's."""
    for path, (inputs, outputs) in sizes.items():
        model.set_submodule(path, nn.Linear(inputs, outputs))


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


def unpacked(
    stored: dict[str, torch.Tensor], model: nn.Module, form: dict[str, Any]
) -> dict[str, torch.Tensor]:
    """Whole float32 tensors, in the shapes of the model's."""
    whole = {}
    tied: dict[str, str] = getattr(model, "all_tied_weights_keys", {})
    for name, tensor in model.state_dict().items():
        key = tied.get(name, name)  # tied weights are stored once
        shape, mask = tensor.shape, None
        if f"{key}.mask" in stored:
            mask = unpack_codes(stored[f"{key}.mask"], 1, tensor.numel()).bool()
            shape = torch.Size([int(mask.sum())])
        if bits := form.get("bits", {}).get(key):
            units = unpack_codes(stored[f"{key}.codes"], bits, shape.numel()).view(shape) - (2**bits - 1) / 2
            scales = stored[f"{key}.scales"].float().repeat_interleave(form["group_size"], dim=-1)
            values = units * scales[..., : shape[-1]]
        else:
            values = stored[key if mask is None else f"{key}.values"].float()
        if mask is not None:
            full = torch.zeros(tensor.numel())
            full[mask] = values
            values = full.view(tensor.shape)
        whole[name] = values
    return whole


def unpack_codes(packed: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """The first codes (n,) of so many bits, each in a byte: eight of them are in as many bytes as each has bits."""
    eights = packed.view(-1, bits)
    words = functional.pad(eights, (0, 8 - bits)).view(torch.int64).squeeze(1)
    codes = torch.stack([(words >> bits * place & 2**bits - 1).to(torch.uint8) for place in range(8)], dim=1)
    return codes.flatten()[:count]


def pack_codes(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Codes (...) as bytes, the first in the lowest bits: undoes `unpack_codes`."""
    flat = codes.flatten()
    eights = functional.pad(flat, (0, -len(flat) % 8)).view(-1, 8)
    words = torch.zeros(len(eights), dtype=torch.int64)
    for place in range(8):
        words |= eights[:, place].long() << bits * place
    return words.view(torch.uint8).view(-1, 8)[:, :bits].contiguous().flatten()


def packed(whole: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors as they are stored: with a mask and values where that takes fewer bytes."""
    stored = {}
    for name, tensor in whole.items():
        if not is_sparse(tensor):
            stored[name] = tensor
            continue
        flat = tensor.flatten()
        stored[f"{name}.mask"] = pack_codes((flat != 0).to(torch.uint8), 1)
        stored[f"{name}.values"] = flat[flat != 0]
    return stored


def is_sparse(tensor: torch.Tensor) -> bool:
    """Whether a mask and the values that are not zero take fewer bytes than the tensor."""
    size, count = tensor.element_size(), tensor.numel()
    return int(tensor.count_nonzero()) * size + count // 8 + 1 < count * size
