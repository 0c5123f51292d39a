"""Preset `paper` beside the reference port of the official code: the same losses and the same weights."""

import io
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

from benchmarks import paper_recipe
from benchmarks.paper_recipe import Padding, TheseusEncoder
from compression.checkpoints.loading import load_model, open_source
from compression.context import Context, TaskData
from compression.data.batches import Batch, collate, epoch_batches
from compression.data.encoding import Encoded
from compression.events import EventWriter
from compression.methods.theseus.method import wrap
from compression.methods.theseus.objective import TheseusObjective
from compression.methods.theseus.params import TheseusParams
from compression.tasks.text_classification.behaviour import TextClassification
from compression.training.loop import train
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.encoded import classification

Model = TypeVar("Model", bound=nn.Module)
CPU = torch.device("cpu")
SEED, STEPS, BATCH, LENGTH, RATE = 3, 12, 8, 32, 1e-2
TEXTS = ["the movie was good", "the plot is awful and bad", "great story", "a boring film not great"]
TASK = classification(max_length=LENGTH)


@pytest.mark.parametrize("norm", ["clipped", "not_clipped"])
def test_the_paper_preset_is_the_reference(tmp_path: Path, norm: str) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "m", layers=4))
    rows = _rows(source.tokenizer)
    params = TheseusParams.model_validate(
        {
            "preset": "paper",
            "schedule": {"type": "linear", "base_rate": 0.3, "full_at": 0.6},
            "training": {
                "learning_rate": RATE,
                "max_steps": STEPS,
                "batch_size": BATCH,
                "clip_norm": 1.0 if norm == "clipped" else 100.0,
            },
        }
    )
    context = Context(
        source=source, device=CPU, dtype=torch.bfloat16, seed=SEED, emit=EventWriter(io.StringIO()),
        stop_requested=lambda: False, checkpoint_folder=tmp_path, checkpoint_seconds=60, total_steps=STEPS,
    )  # fmt: skip

    model = without_dropout(load_model(source.folder, source.facts, CPU))
    modules = wrap(model, "first_layers", params, context.dtype_for(params.training))
    objective = Watched(model, modules, params, context)
    train(objective, TaskData(TASK, "accuracy", rows, None, rows), params.training, context)

    losses, reference = _reference(source.folder, rows, objective.gates, params.training.clip_norm)
    assert not all(any(gates) for gates in objective.gates), (
        "a step without any successor is part of the test"
    )
    np.testing.assert_allclose(objective.losses, losses, atol=1e-5)
    for module, expected in zip(modules, reference, strict=True):
        theirs = expected.state_dict()
        for name, ours in module.successor.state_dict().items():
            # Softmax cancels the bias of the keys: its gradient is rounding, which Adam scales up to steps.
            if not name.endswith("key.bias"):
                torch.testing.assert_close(ours, theirs[name], atol=1e-4, rtol=1e-4)


class Watched(TheseusObjective):
    """Remembers the gates and the loss of each step."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.gates: list[list[bool]] = []
        self.losses: list[float] = []

    def loss(self, batch: Batch) -> torch.Tensor:
        assert batch.input_ids.shape[1] == LENGTH
        self.gates.append([bool(module.replaced) for module in self.modules])
        loss = super().loss(batch)
        self.losses.append(loss.item())
        return loss


def _reference(
    folder: Path, rows: Encoded, gates: list[list[bool]], clip_norm: float
) -> tuple[list[float], nn.ModuleList]:
    """The reference's encoder in its own loop, on the same batches and with the same gates."""
    model: BertForSequenceClassification = without_dropout(paper_recipe.load(folder))
    encoder = Forced(model.bert.encoder.layer, 2, 0.3)
    model.bert.encoder = encoder  # type: ignore[assignment]
    optimizer = torch.optim.AdamW(encoder.scc_layer.parameters(), lr=RATE, eps=1e-8, weight_decay=0.0)
    model.train()
    losses = []
    per_epoch = len(rows) // BATCH
    for step, drawn in enumerate(gates):
        encoder.drawn = drawn
        epoch, index = divmod(step, per_epoch)
        batch = collate(rows, epoch_batches(rows, BATCH, SEED, epoch, by_length=False)[index], CPU, LENGTH)
        assert batch.attention_mask is not None
        padded = [batch.input_ids, batch.attention_mask, torch.zeros_like(batch.input_ids), batch.labels]
        loss = model(**paper_recipe.inputs(padded, Padding.MAX)).loss
        loss.backward()
        losses.append(loss.item())
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        optimizer.step()
        model.zero_grad(set_to_none=False)
    return losses, encoder.scc_layer


class Forced(TheseusEncoder):
    drawn: list[bool]

    def chosen_layers(self) -> list[nn.Module]:
        size = len(self.layer) // len(self.scc_layer)
        layers: list[nn.Module] = []
        for i, drawn in enumerate(self.drawn):
            layers += [self.scc_layer[i]] if drawn else list(self.layer[i * size : (i + 1) * size])
        return layers


def without_dropout(model: Model) -> Model:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def _rows(tokenizer: PreTrainedTokenizerFast) -> Encoded:
    texts = [f"{TEXTS[i % 4]} {'very ' * (i % 5)}" for i in range(48)]
    table = pa.table({"text": texts, "label": [TASK.label_names[i % 2] for i in range(48)]})
    return TextClassification(TASK).encode(tokenizer, table)
