"""Masked language modelling: what is hidden, how it is measured, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import Source, load_model, open_source
from compression.data.batches import collate
from compression.data.ingest import ingest_dataset
from compression.data.masking import Masking
from compression.data.summary import SplitName
from compression.errors import InputError
from compression.evaluation.predict import predict
from compression.report.build import retention_of
from compression.spec import Recipe, resolve
from compression.tasks.behaviour import behaviour_of
from compression.tasks.encoding import encode_split
from compression.tasks.pieces import LIKELIEST, likeness, perplexity
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import make_spec, run_to_end

ANYWHERE = np.arange(10, 60)
DROP = {"method": "layer_drop", "keep_layers": 1, "recovery": None}


def opened(tmp_path: Path, **settings: Any) -> tuple[Source, Any, Path]:
    spec = make_spec(tmp_path, [DROP], task="fill-mask", layers=2, settings=settings)
    return open_source(spec.model), spec.plan.task, spec.dataset


def test_texts_of_numbers_alone_are_texts(tmp_path: Path) -> None:
    rows: dict[SplitName, Any] = {
        "train": [{"text": "3", "size": 1}] * 4,
        "validation": [{"text": "4", "size": 1}] * 4,
    }
    spec = make_spec(tmp_path, [DROP], task="fill-mask", layers=2, rows=rows)
    assert spec.plan.task.columns_read == ["text"]


def test_pseudo_perplexity_is_that_of_every_piece_guessed_alone(tmp_path: Path) -> None:
    """Salazar et al. 2020, equation 4, by transformers alone."""
    source, task, dataset = opened(tmp_path)
    rows = encode_split(source, dataset, "validation", task, None)
    model = load_model(source.folder, source.facts, torch.device("cpu"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(source.folder)
    surprises = []
    for text in rows.table.column("text").to_pylist():
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        for place in range(1, ids.shape[1] - 1):
            masked = ids.clone()
            masked[0, place] = tokenizer.mask_token_id
            with torch.no_grad():
                surprises.append(-model(masked).logits[0, place].log_softmax(-1)[ids[0, place]].item())
    kept = predict(model, rows, lambda: None)
    assert len(kept) == len(surprises)
    found = behaviour_of(task).score("pseudo_perplexity", kept, rows)
    assert found == pytest.approx(np.exp(np.mean(surprises)), rel=1e-4)


def test_of_more_pieces_than_shall_be_measured_the_same_ones_are(tmp_path: Path) -> None:
    source, task, dataset = opened(tmp_path, measured_pieces=9)
    first, second = (encode_split(source, dataset, "validation", task, tmp_path) for _ in range(2))
    assert len(first.labels) == first.outputs[-1] == 9
    np.testing.assert_array_equal(first.pieces, second.pieces)
    assert first.marked is not None
    assert (first.pieces == source.tokenizer.mask_token_id).sum() == first.marked.sum() == 9
    assert first.sequences is not None
    assert len(first.sequences) == first.table.num_rows + 1


def test_what_is_hidden_is_a_function_of_the_step_and_the_row(tmp_path: Path) -> None:
    source, task, dataset = opened(tmp_path)
    rows = encode_split(source, dataset, "train", task, None)
    cpu = torch.device("cpu")

    def hidden(numbers: list[int], step: int) -> list[list[int]]:
        batch = collate(rows, np.array(numbers), cpu, 40, (7, 0, step))
        ends = np.searchsorted(batch.outputs, rows.outputs[np.array(numbers) + 1])
        assert batch.marked is not None
        assert (rows.labels[batch.outputs] == batch.labels.numpy()).all()
        assert int(batch.marked.sum()) == len(batch.labels) == ends[-1]
        return batch.input_ids.tolist()

    assert hidden([2, 5, 9], 1)[1] == hidden([5], 1)[0]
    assert hidden([2, 5, 9], 1) != hidden([2, 5, 9], 2)
    empty = collate(rows, np.array([3]), cpu, None, (7, 0, 0))
    assert len(empty.labels) == 0
    assert behaviour_of(task).loss(torch.zeros(0, 5), empty) == 0


def test_pieces_are_masked_exchanged_or_left_in_their_shares() -> None:
    masking = Masking(0.15, 0.8, 0.1, mask_piece=4, ordinary=ANYWHERE)
    pieces = np.full(200_000, 5, dtype=np.int32)
    lengths = np.full(2000, 100)
    seen, hidden = masking.hide(pieces, np.ones(len(pieces), dtype=bool), lengths, np.arange(2000), (1,))
    assert hidden.mean() == pytest.approx(0.15, abs=0.005)
    fates = [float(share[hidden].mean()) for share in (seen == 4, np.isin(seen, ANYWHERE), seen == 5)]
    assert fates == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    assert (seen[~hidden] == 5).all()


def test_likeness_is_that_of_the_whole_distributions_where_all_pieces_are_kept() -> None:
    draw = torch.Generator().manual_seed(0)
    both = [torch.randn(50, LIKELIEST, generator=draw).log_softmax(-1) for _ in range(2)]
    kept = []
    for log_p in both:
        values, ids = log_p.sort(descending=True)
        kept.append(torch.cat([log_p[:, :1], ids.float(), values], dim=1).numpy())
    p, q = (log_p.double().exp() for log_p in both)
    middle = ((p + q) / 2).log2()
    divergence = ((p * (p.log2() - middle)).sum(1) + (q * (q.log2() - middle)).sum(1)) / 2
    np.testing.assert_allclose(likeness(*kept), (1 - divergence.sqrt()).numpy(), atol=1e-6)
    np.testing.assert_allclose(likeness(kept[0], kept[0]), 1, atol=1e-6)


def test_a_model_that_became_worse_keeps_less_than_all(tmp_path: Path) -> None:
    report = run_to_end(make_spec(tmp_path, [DROP], task="fill-mask", layers=2), tmp_path / "out")
    before, after = (m.metrics["pseudo_perplexity"].value for m in (report.before, report.after))
    assert report.retention == pytest.approx(before / after)
    assert retention_of("pseudo_perplexity", report.after, report.before) == pytest.approx(after / before)
    card = (tmp_path / "out" / "artifacts" / "README.md").read_text()
    assert "(lower is better)" in card
    assert 'pipeline("fill-mask"' in card
    differing = json.loads((tmp_path / "out" / "artifacts" / "report.json").read_text())["flipped"][0]
    assert set(differing["label"].split()) <= set(load_vocabulary(tmp_path / "source"))
    assert perplexity(1e6, 1) < float("inf")


def load_vocabulary(folder: Path) -> dict[str, int]:
    vocabulary: dict[str, int] = transformers.AutoTokenizer.from_pretrained(folder).get_vocab()
    return vocabulary


def refusal(tmp_path: Path, step: dict[str, Any] = DROP, **recipe: Any) -> tuple[str, str]:
    with pytest.raises(InputError) as refused:
        make_spec(tmp_path, [step], task="fill-mask", layers=2, **recipe)
    return refused.value.problems[0].code, refused.value.problems[0].place


def test_what_cannot_be_done_is_refused_at_submission(tmp_path: Path) -> None:
    whole_table = {"method": "low_rank", "embeddings": True}
    assert refusal(tmp_path / "a", whole_table) == ("method_does_not_fit", "/steps/0/embeddings")
    trim = {"method": "trim_vocabulary"}
    assert refusal(tmp_path / "b", trim) == ("method_does_not_fit", "/steps/0/method")


def change_config(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def test_heads_with_a_table_of_their_own_are_refused(tmp_path: Path) -> None:
    folder = make_tiny_checkpoint(tmp_path / "m", task="fill-mask")
    facts = inspect_checkpoint(folder)
    tensors = load_file(folder / "model.safetensors")
    table = tensors["bert.embeddings.word_embeddings.weight"]
    twice = {**tensors, "cls.predictions.decoder.weight": table.clone()}
    save_file(twice, folder / "model.safetensors", {"format": "pt"})
    assert inspect_checkpoint(folder).parameters == facts.parameters
    twice["cls.predictions.decoder.weight"][0, 0] += 1
    save_file(twice, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"decoder\.weight: it differs"):
        inspect_checkpoint(folder)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    change_config(folder, tie_word_embeddings=False)
    with pytest.raises(InputError, match="tie_word_embeddings: a head with a table of its own"):
        inspect_checkpoint(folder)
    change_config(
        folder, tie_word_embeddings=True, plankwright={"low_rank": {"bert.embeddings.word_embeddings": 2}}
    )
    (folder / "model.safetensors").rename(folder / "plankwright.safetensors")
    with pytest.raises(InputError, match="no such linear map"):
        inspect_checkpoint(folder)


def test_splits_without_text_are_refused_by_name(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, [DROP], task="fill-mask", layers=2)
    (tmp_path / "odd").mkdir()
    files: dict[SplitName, Path] = {"train": tmp_path / "train.jsonl", "validation": tmp_path / "bare.jsonl"}
    files["validation"].write_text('{"text": ""}\n' * 3)
    summary = ingest_dataset(files, tmp_path / "odd", None, 0)
    with pytest.raises(InputError, match="'text' of split 'validation' is empty") as refused:
        resolve(Recipe(steps=[DROP]), inspect_checkpoint(spec.model), summary)
    assert refused.value.problems[0].place == "/task/columns/text"
