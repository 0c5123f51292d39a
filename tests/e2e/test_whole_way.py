"""From a checkpoint and two files to a smaller model in use, over HTTP, as the README tells it."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from plankwright.client import Plankwright
from tests.e2e.conftest import QUICK, Inputs, Result
from tests.e2e.services import Embedded, environment, plankwright

LONG = ["--layers", 2, "--epochs", 100, "--set", "training.batch_size=1"]


def test_a_smaller_model_comes_back_and_plain_transformers_loads_it(result: Result) -> None:
    assert result.done.returncode == 0, result.done.stderr
    assert "replacing rate" in result.done.stderr
    assert "max_size_ratio 0.99" in result.done.stdout
    assert {file.name for file in result.out.iterdir()} == {
        "README.md", "SHA256SUMS", "logs.txt", "manifest.json", "metrics.jsonl", "model", "model.tar",
        "predictions.jsonl", "report.html", "report.json",
    }  # fmt: skip
    assert_sums_hold(result.out)
    assert_it_predicts_what_was_reported(result.out)
    verified = plankwright(None, "verify", result.out)
    assert (verified.returncode, verified.stderr) == (0, "")


def assert_sums_hold(out: Path) -> None:
    for line in (out / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest


def assert_it_predicts_what_was_reported(out: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(out / "model")
    tokenizer = AutoTokenizer.from_pretrained(out / "model")
    assert model.config.num_hidden_layers == 2
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    encoded = tokenizer([row["text"] for row in rows], padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**encoded).logits
    torch.testing.assert_close(logits, torch.tensor([row["after"] for row in rows]), atol=1e-4, rtol=1e-4)


def test_without_a_server_the_same_comes_out(embedded_result: Result, inputs: Inputs, tmp_path: Path) -> None:
    out = tmp_path / "not" / "there" / "yet"
    refused = plankwright(None, "compress", *inputs.arguments, "--layers", 9, "--local", "--out", out)
    assert refused.returncode == 4
    assert "successor_too_deep" in refused.stderr
    done = plankwright(None, "compress", *inputs.arguments, *QUICK, "--local", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["report"]["verdict"] == "met"
    assert {file.name for file in out.iterdir()} == {file.name for file in embedded_result.out.iterdir()}
    here, there = (logits_after(folder) for folder in (out, embedded_result.out))
    assert here == pytest.approx(there, abs=1e-3)  # another number of threads sums in another order


def logits_after(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    return [logit for row in rows for logit in row["after"]]


def test_missed_constraints_have_their_own_exit_code(
    embedded: Embedded, inputs: Inputs, tmp_path: Path
) -> None:
    out = tmp_path / "result"
    missed = ["--constraint", "max_size_ratio=0.01"]
    done = plankwright(embedded.server, "compress", *inputs.arguments, *QUICK, *missed, "--out", out)
    assert done.returncode == 3, done.stderr
    assert "NOT MET" in done.stdout
    assert (out / "model" / "config.json").exists()


def test_a_refused_recipe_is_an_error_that_names_the_place(
    embedded: Embedded, inputs: Inputs, tmp_path: Path
) -> None:
    done = plankwright(
        embedded.server, "compress", *inputs.arguments, "--layers", 9, "--out", tmp_path / "x", "--json"
    )
    assert done.returncode == 1
    error = json.loads(done.stderr)["error"]
    assert [(e["pointer"], e["code"]) for e in error["errors"]] == [
        ("/steps/0/successor_layers", "successor_too_deep")
    ]


def test_a_watched_job_that_is_cancelled_ends_the_watching(embedded: Embedded, inputs: Inputs) -> None:
    with Plankwright(embedded.server.url, embedded.server.key) as service:
        model = service.models.upload(inputs.model)
        dataset = service.datasets.upload(inputs.train, inputs.validation)
        training = {"epochs": 100, "batch_size": 1}
        job = service.jobs.create(model.id, dataset.id, [{"method": "theseus", "training": training}])
        for event in service.jobs.events(job.id):
            if event.type == "progress":
                break
        started = time.monotonic()
        assert plankwright(embedded.server, "jobs", "cancel", job.id).stdout == f"{job.id} cancelling\n"
        watched = plankwright(embedded.server, "jobs", "watch", job.id)
        assert time.monotonic() - started < 10
    assert watched.returncode == 5
    assert watched.stdout == f"{job.id} cancelled\n"


def test_a_result_can_be_compressed_again(embedded: Embedded, embedded_result: Result) -> None:
    with Plankwright(embedded.server.url, embedded.server.key) as service:
        first = service.jobs.get(json.loads((embedded_result.out / "report.json").read_text())["job_id"])
        assert first.result_model is not None
        assert service.models.get(first.result_model).source_job == first.id
        step = {"method": "layer_drop", "keep_layers": 1, "recovery": None}
        second = service.jobs.wait(service.jobs.create(first.result_model, first.dataset, [step]).id)
        assert second.result_model is not None, second.reason
        assert service.models.get(second.result_model).facts.layers == 1


def test_a_damaged_result_is_found_and_mended(
    embedded: Embedded, embedded_result: Result, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(embedded_result.out, out)
    whole = (out / "model.tar").read_bytes()
    (out / "model.tar").write_bytes(whole[:-2000] + bytes([whole[-2000] ^ 1]) + whole[-1999:])
    verified = plankwright(None, "verify", out, "--json")
    assert verified.returncode == 7
    assert json.loads(verified.stderr)["error"]["code"] == "sum_differs"
    job = json.loads((out / "report.json").read_text())["job_id"]
    assert plankwright(embedded.server, "download", job, "--out", out).returncode == 0
    assert (out / "model.tar").read_bytes() == whole


@pytest.mark.parametrize(
    ("arguments", "sent"), [(["--local"], signal.SIGINT), (["--local"], signal.SIGTERM), ([], signal.SIGINT)]
)
def test_an_interruption_ends_the_command_with_its_own_code_and_leaves_its_log_alone(
    embedded: Embedded, inputs: Inputs, tmp_path: Path, arguments: list[str], sent: signal.Signals
) -> None:
    told = environment(server=embedded.server.url, api_key=embedded.server.key)
    command = [
        sys.executable,
        "-m",
        "plankwright",
        "compress",
        *map(str, [*inputs.arguments, *LONG]),
        *arguments,
    ]
    command += ["--out", str(tmp_path / "out")]
    # Where the tests run in the background of a shell, Ctrl-C is ignored, by what they start too.
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, env=told, stderr=subprocess.PIPE, text=True, preexec_fn=listen) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step"):
                break
        process.send_signal(sent)
        process.stderr.read()
    assert process.returncode == 130
    assert list(tmp_path.rglob("*")) == [tmp_path / "out", tmp_path / "out" / "logs.txt"] * bool(arguments)
    with Plankwright(embedded.server.url, embedded.server.key) as service:
        for job in service.jobs.list("running"):
            service.jobs.cancel(job.id)
