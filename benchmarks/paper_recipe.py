"""BERT-of-Theseus as its authors run it: the reference that the engine is measured against.

A port of the official code (JetRunner/BERT-of-Theseus, run_glue.py) to today's torch and transformers, with its waste
and its quirks: every row padded to the full length, float32, eager attention, dropout in the frozen parts too,
gradients for all parameters although only the successor is in the optimizer, one clip over all of them, gradients
zeroed and not dropped, the successor begun from the first layers. Two things differ: it stops after exactly `steps`
steps (the original makes one more, at learning rate 0), and it neither evaluates nor saves on the way, which the
README's settings do every 50 steps.

    python -m benchmarks.paper_recipe MODEL --train train.tsv --validation validation.tsv --steps 500
"""

import csv
import json
import resource
import time
from copy import deepcopy
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import (
    AutoTokenizer,
    BertForSequenceClassification,
    PreTrainedTokenizerBase,
    get_linear_schedule_with_warmup,
)
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from benchmarks.process import WARM_UP

EVALUATION_BATCH = 32


class Padding(StrEnum):
    MAX = "max"
    """Every row as long as `length`: what the official code does."""
    LONGEST = "longest"
    """Every row as long as the longest of its batch: the same mathematics without the padding."""


class TheseusEncoder(nn.Module):
    """Predecessor and successor layers side by side; at each training step one coin per module picks one of the two."""

    def __init__(self, predecessor: nn.ModuleList, successor_layers: int, rate: float) -> None:
        super().__init__()
        if len(predecessor) % successor_layers:
            raise typer.BadParameter(f"{successor_layers} modules do not divide {len(predecessor)} layers")
        self.layer = predecessor
        self.scc_layer = nn.ModuleList(deepcopy(predecessor[i]) for i in range(successor_layers))
        self.rate = rate

    def chosen_layers(self) -> list[nn.Module]:
        if not self.training:
            return list(self.scc_layer)
        size = len(self.layer) // len(self.scc_layer)
        layers: list[nn.Module] = []
        for i, successor in enumerate(self.scc_layer):
            replaced = torch.bernoulli(torch.tensor([self.rate])).item() == 1
            layers += [successor] if replaced else list(self.layer[i * size : (i + 1) * size])
        return layers

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        for layer in self.chosen_layers():
            hidden_states = layer(hidden_states, attention_mask)
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=hidden_states)


def load(model: Path) -> BertForSequenceClassification:
    return BertForSequenceClassification.from_pretrained(
        model, dtype=torch.float32, attn_implementation="eager"
    )


def encode(
    file: Path, tokenizer: PreTrainedTokenizerBase, label2id: dict[str, int], length: int
) -> TensorDataset:
    """Rows of a tsv file with the header `sentence<TAB>label`, all padded to `length`.

    Columns: input_ids, attention_mask, token_type_ids (N, length) and labels (N,).
    """
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    coded = tokenizer(
        [row["sentence"] for row in rows],
        padding="max_length",
        truncation=True,
        max_length=length,
        return_tensors="pt",
        return_token_type_ids=True,
    )
    labels = torch.tensor([label2id[row["label"]] for row in rows])
    return TensorDataset(coded["input_ids"], coded["attention_mask"], coded["token_type_ids"], labels)


def inputs(batch: list[torch.Tensor], padding: Padding) -> dict[str, torch.Tensor]:
    input_ids, mask, segments, labels = batch
    length = int(mask.sum(dim=1).max()) if padding is Padding.LONGEST else mask.shape[1]
    return {
        "input_ids": input_ids[:, :length],
        "attention_mask": mask[:, :length],
        "token_type_ids": segments[:, :length],
        "labels": labels,
    }


def train(
    model: BertForSequenceClassification,
    rows: TensorDataset,
    *,
    steps: int,
    full_at: float,
    learning_rate: float,
    batch_size: int,
    padding: Padding,
    seed: int,
) -> dict[str, float | int | None]:
    """Train the successor for `steps` steps; the replacing rate reaches 1 at the share `full_at` of them."""
    encoder: Any = model.bert.encoder
    without_decay = ("bias", "LayerNorm.weight")
    named = list(encoder.scc_layer.named_parameters())
    groups = [
        {"params": [p for n, p in named if not any(w in n for w in without_decay)], "weight_decay": 0.0},
        {"params": [p for n, p in named if any(w in n for w in without_decay)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, eps=1e-8)
    decay = get_linear_schedule_with_warmup(optimizer, 0, steps)
    base_rate = encoder.rate
    slope = (1 - base_rate) / (full_at * steps)
    loader = DataLoader(rows, batch_size=batch_size, shuffle=True)
    torch.manual_seed(seed)
    model.train()
    step, examples, timed_examples, loss_sum = 0, 0, 0, 0.0
    started = timed_from = time.perf_counter()
    cpu_started = time.process_time()
    while step < steps:
        for batch in loader:
            loss = model(**inputs(batch, padding)).loss
            loss.backward()
            loss_sum += loss.item()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            decay.step()
            step += 1
            # After the optimizer step, so that the first step is made with the base rate.
            encoder.rate = min(1.0, slope * step + base_rate)
            model.zero_grad(set_to_none=False)
            examples += len(batch[0])
            if step == WARM_UP:
                timed_from, timed_examples = time.perf_counter(), examples
            if step == steps:
                break
    finished = time.perf_counter()
    return {
        "steps": step,
        "examples": examples,
        "examples_per_second": (examples - timed_examples) / (finished - timed_from),
        "examples_per_second_all_steps": examples / (finished - started),
        "training_wall_seconds": finished - started,
        "training_cpu_seconds": time.process_time() - cpu_started,
        "mean_loss": loss_sum / step,
    }


@torch.no_grad()
def predict(model: nn.Module, rows: TensorDataset, padding: Padding) -> torch.Tensor:
    """Probabilities (N, labels) of a model in evaluation mode."""
    model.eval()
    logits = [
        model(**inputs(batch, padding)).logits for batch in DataLoader(rows, batch_size=EVALUATION_BATCH)
    ]
    return torch.cat(logits).softmax(dim=-1)


def loyalty(before: torch.Tensor, after: torch.Tensor) -> dict[str, float]:
    """Agreement of two (N, labels) probabilities: same label, and 1 - sqrt(Jensen-Shannon divergence, base 2)."""
    middle = (before + after) / 2
    divergence = sum((p * (p / middle).log2()).nan_to_num().sum(dim=-1) / 2 for p in (before, after))
    assert isinstance(divergence, torch.Tensor)
    return {
        "label_loyalty": float((before.argmax(dim=-1) == after.argmax(dim=-1)).float().mean()),
        "probability_loyalty": float((1 - divergence.clamp(min=0).sqrt()).mean()),
    }


def main(
    model: Path,
    train_file: Annotated[Path, typer.Option("--train")],
    validation_file: Annotated[Path, typer.Option("--validation")],
    steps: Annotated[int, typer.Option(min=1)],
    successor_layers: int = 3,
    base_rate: float = 0.3,
    full_at: float = 0.5,
    learning_rate: float = 2e-5,
    batch_size: int = 32,
    padding: Padding = Padding.MAX,
    length: int = 128,
    seed: int = 42,
    threads: int = 2,
) -> None:
    """Compress MODEL by the paper's recipe and print what that took and what came of it, as JSON."""
    started = time.perf_counter()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    predecessor = load(model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    label2id: Any = predecessor.config.label2id
    validation = encode(validation_file, tokenizer, label2id, length)
    before = predict(predecessor, validation, padding)
    encoder = TheseusEncoder(predecessor.bert.encoder.layer, successor_layers, base_rate)
    predecessor.bert.encoder = encoder  # type: ignore[assignment]
    figures: dict[str, float | int | None] = train(
        predecessor,
        encode(train_file, tokenizer, label2id, length),
        steps=steps,
        full_at=full_at,
        learning_rate=learning_rate,
        batch_size=batch_size,
        padding=padding,
        seed=seed,
    )
    after = predict(predecessor, validation, padding)
    labels = validation.tensors[3]
    figures["before"] = float((before.argmax(dim=-1) == labels).float().mean())
    figures["after"] = float((after.argmax(dim=-1) == labels).float().mean())
    figures |= loyalty(before, after)
    figures["wall_seconds"] = time.perf_counter() - started
    figures["cpu_seconds"] = time.process_time()
    figures["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(figures))


if __name__ == "__main__":
    typer.run(main)
