"""Causal language modelling: perplexity over blocks, and GPT-2 the whole way."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import load_model, open_source
from compression.data.ingest import ingest_dataset
from compression.errors import InputError, Stopped
from compression.evaluation.predict import predict
from compression.events import EventWriter
from compression.export.verify import verify
from compression.run import run
from compression.spec import Recipe, RunSpec, resolve
from compression.tasks.behaviour import behaviour_of
from compression.tasks.encoding import encode_split
from compression.tasks.text_generation.behaviour import blocks_of
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import METHOD_SETTINGS, make_spec, resumed, run_to_end, stop_after, weights_of

THESEUS: dict[str, Any] = {"method": "theseus", **METHOD_SETTINGS["theseus"], "distillation": {"weight": 0.3}}
BRIEFLY = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
CHAIN: list[dict[str, Any]] = [
    {"method": "layer_drop", "keep_layers": 3, "strategy": "best", "recovery": None},
    {"method": "narrow", "rows": 8, "recovery": BRIEFLY},
    {"method": "ladabert", "ratio": 3, "training": BRIEFLY},
    {"method": "quantize"},
]


def generating(folder: Path, steps: list[dict[str, Any]], **settings: Any) -> RunSpec:
    return make_spec(folder, steps, task="text-generation", architecture="gpt2", settings=settings)


def test_perplexity_is_that_of_every_block(tmp_path: Path) -> None:
    spec = generating(tmp_path, [THESEUS], max_length=16)
    source, task = open_source(spec.model), spec.plan.task
    rows = encode_split(source, spec.dataset, "validation", task, None)
    assert len(rows) > rows.table.num_rows
    model = transformers.AutoModelForCausalLM.from_pretrained(spec.model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(spec.model)
    surprise, places = 0.0, 0
    for text in rows.table.column("text").to_pylist():
        ids = tokenizer(text)["input_ids"]
        for block in (torch.tensor([ids[i : i + 16]]) for i in range(0, len(ids), 16)):
            if block.shape[1] > 1:
                with torch.no_grad():
                    surprise += float(model(block, labels=block).loss) * (block.shape[1] - 1)
                places += block.shape[1] - 1
    kept = predict(load_model(source.folder, source.facts, torch.device("cpu")), rows, lambda: None)
    assert len(kept) == places
    found = behaviour_of(task).score("perplexity", kept, rows)
    assert found == pytest.approx(np.exp(surprise / places), rel=1e-4)


def test_blocks_are_as_long_as_can_be() -> None:
    assert [blocks_of(length, 8).tolist() for length in (0, 3, 8, 17)] == [[], [3], [8], [8, 8, 1]]


def test_of_more_pieces_than_shall_be_measured_the_same_ones_are(tmp_path: Path) -> None:
    spec = generating(tmp_path, [THESEUS], measured_pieces=9)
    source = open_source(spec.model)
    first, second = (encode_split(source, spec.dataset, "validation", spec.plan.task, None) for _ in range(2))
    assert len(first.labels) == 9
    np.testing.assert_array_equal(first.labels, second.labels)
    learnt = encode_split(source, spec.dataset, "train", spec.plan.task, None)
    assert len(learnt.labels) > 9


def test_theseus_goes_the_whole_way_and_an_interruption_changes_nothing(tmp_path: Path) -> None:
    spec = generating(tmp_path, [THESEUS])
    report = run_to_end(spec, tmp_path / "whole")
    assert (report.metric, list(report.before.metrics)) == ("perplexity", ["perplexity", "accuracy"])
    before, after = (model.metrics["perplexity"].value for model in (report.before, report.after))
    assert report.retention == pytest.approx(before / after)
    assert verify(tmp_path / "whole" / "artifacts").largest_difference < 1e-5
    folder = tmp_path / "whole" / "model"
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.num_hidden_layers == 2
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    begun = tokenizer("the movie", return_tensors="pt")
    assert model.generate(**begun, max_new_tokens=3, do_sample=False).shape[1] > begun["input_ids"].shape[1]
    with pytest.raises(Stopped):
        run(spec, tmp_path / "first", EventWriter(io.StringIO()), stop_after(12))
    run_to_end(resumed(spec, tmp_path / "first"), tmp_path / "second")
    assert weights_of(tmp_path / "second") == weights_of(tmp_path / "whole")


def test_several_methods_serve_it_one_after_the_other(tmp_path: Path) -> None:
    report = run_to_end(generating(tmp_path, CHAIN), tmp_path / "out")
    assert [file.name for file in report.files] == ["model.int8.onnx", "model.tar"]
    assert verify(tmp_path / "out" / "artifacts").largest_difference < 1e-5
    facts = inspect_checkpoint(tmp_path / "out" / "model")
    assert (facts.low_rank, facts.packed, report.after.parameters) == (True, True, facts.parameters)


def test_padding_need_not_be_known_and_the_table_must_be_shared(tmp_path: Path) -> None:
    folder = make_tiny_checkpoint(tmp_path / "m", "gpt2", task="text-generation")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"pad_token_id": None}))
    assert inspect_checkpoint(folder).task == "text-generation"
    path.write_text(json.dumps(config | {"tie_word_embeddings": False}))
    with pytest.raises(InputError, match="tie_word_embeddings"):
        inspect_checkpoint(folder)


def test_texts_of_one_piece_are_refused_by_name(tmp_path: Path) -> None:
    spec = generating(tmp_path, [THESEUS])
    (tmp_path / "short.jsonl").write_text('{"text": "a"}\n' * 3)
    (tmp_path / "short").mkdir()
    train, short = tmp_path / "train.jsonl", tmp_path / "short.jsonl"
    summary = ingest_dataset({"train": train, "validation": short}, tmp_path / "short", None, 0)
    plan = resolve(Recipe(steps=[THESEUS]), inspect_checkpoint(spec.model), summary)
    with pytest.raises(InputError, match="none comes after another") as refused:
        run_to_end(spec.model_copy(update={"plan": plan, "dataset": tmp_path / "short"}), tmp_path / "out")
    assert refused.value.problems[0].place == "/task/columns/text"
