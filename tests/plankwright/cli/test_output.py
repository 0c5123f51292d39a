import hashlib
import io
import json
import re
import tarfile
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from plankwright.cli import live, output
from plankwright.cli.live import JobView
from plankwright.cli.remote import fetch, submit
from plankwright.client import Plankwright
from tests.checkpoints import make_tiny_checkpoint
from tests.plankwright.scripted import Answer, scripted_server
from tests.plankwright.test_client import ENDED


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    return shown_on(monkeypatch, terminal=False)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    monkeypatch.setenv("TERM", "xterm")  # a dumb one, as of a build, has no bars
    return shown_on(monkeypatch, terminal=True)


def shown_on(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> io.StringIO:
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=terminal)
    for module in (output, live):
        monkeypatch.setattr(module, "progress", console)
    monkeypatch.setattr(output, "results", console)
    return stream


def bars(terminal: io.StringIO) -> list[str]:
    """The bars as they stand in the end: what was drawn before on the same line is drawn over."""
    lines = Text.from_ansi(terminal.getvalue()).plain.splitlines()
    return [" ".join(line.split()) for line in lines if "━" in line]


def test_text_of_others_means_nothing_to_the_terminal(screen: io.StringIO) -> None:
    output.say("\x1b[2J\x07[bold]name[/bold] \u202egnp.exe")
    output.print_table(("name",), [("[red]x\x1b]0;title\x07",)])
    shown = screen.getvalue()
    assert "[bold]name[/bold]" in shown
    assert "[red]x" in shown
    assert not any(c in shown for c in "\x1b\x07\u202e")


def test_where_no_terminal_is_a_job_is_told_in_lines(screen: io.StringIO) -> None:
    with JobView(shown=True) as view:
        view.handle("queued", "queued", {})
        view.handle("phase", "compress", {"phase": "compress"})
        view.handle(
            "metric", "", {"step": 1, "values": {"loss": 0.51234, "replacing_rate": 0.3, "learning_rate": 1}}
        )
        view.handle("metric", "", {"step": 2, "values": {"eval.accuracy": 0.875}})
        view.handle("progress", "", {"step": 2, "total": 40, "eta_seconds": 19.2})
        view.handle("warning", "the metric does not move", {"code": "majority"})
    assert screen.getvalue().splitlines() == [
        "queued",
        "phase: compress",
        "step 2 of 40: replacing rate 0.3, loss 0.512, validation accuracy 0.875, 19 s left",
        "warning: the metric does not move",
    ]


def test_with_json_nothing_is_shown(screen: io.StringIO) -> None:
    with JobView(shown=False) as view:
        view.handle("progress", "", {"step": 2, "total": 40, "eta_seconds": None})
        view.handle("warning", "w", {"code": "c"})
    with output.transfer("model", shown=False) as progress:
        progress(1, 2)
    assert screen.getvalue() == ""


def test_a_job_without_training_has_no_steps_to_tell_of(screen: io.StringIO) -> None:
    with JobView(shown=True) as view:
        view.handle("progress", "", {"step": 0, "total": 0, "eta_seconds": None})
        view.handle("phase", "", {"phase": "export"})
    assert screen.getvalue() == "phase\n"


def test_on_a_terminal_an_upload_has_a_bar_for_all_that_is_sent(
    terminal: io.StringIO, service: Plankwright, tmp_path: Path
) -> None:
    model = make_tiny_checkpoint(tmp_path / "my-bert")
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\ngood film,positive\nbad film,negative\n")
    recipe = {"steps": [{"method": "theseus", "successor_layers": 1}]}
    submit(service, model, {"train": rows, "validation": rows}, recipe, shown=True)
    of_the_model, of_the_dataset = bars(terminal)
    sent = 2 * rows.stat().st_size  # for training and for validation
    assert re.match(r"model ━{40} (\d+\.\d)/\1 kB ", of_the_model)
    assert re.match(rf"dataset ━{{40}} {sent}/{sent} bytes ", of_the_dataset)


def test_on_a_terminal_a_download_has_one_bar_for_all_its_files(
    terminal: io.StringIO, tmp_path: Path
) -> None:
    files = {"logs.txt": b"all went well", "model.tar": tar_of_a_model()}
    listed = [
        {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    ]
    answers = {
        "/v1/jobs/job_1": json.dumps(ENDED).encode(),
        "/v1/jobs/job_1/artifacts": json.dumps({"data": listed}).encode(),
        **{f"/v1/jobs/job_1/artifacts/{name}": content for name, content in files.items()},
    }
    script = scripted_server(lambda asked: Answer(body=answers[asked.path]))
    with script as server, Plankwright(server.url, "k") as service:
        fetch(service, "job_1", tmp_path, shown=True)
    (bar,) = bars(terminal)
    size = f"{sum(map(len, files.values())) / 1000:.1f}"
    assert re.match(rf"download ━{{40}} {size}/{size} kB ", bar)


def tar_of_a_model() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("model/config.json"))
    return stream.getvalue()


def test_on_a_terminal_a_job_is_a_bar_that_goes_to_its_last_step(terminal: io.StringIO) -> None:
    with JobView(shown=True) as view:
        view.handle("phase", "compress", {"phase": "compress"})
        view.handle("metric", "", {"step": 40, "values": {"loss": 0.25, "eval.accuracy": 0.875}})
        view.handle("progress", "", {"step": 20, "total": 40, "eta_seconds": 9.0})
        view.handle("progress", "", {"step": 40, "total": 40, "eta_seconds": 0.0})
        view.handle("warning", "the metric does not move", {"code": "majority"})
    assert bars(terminal) == [f"compress {'━' * 40} 40/40 loss 0.25, validation accuracy 0.875"]
    assert "warning: the metric does not move" in terminal.getvalue()


def test_a_model_that_transformers_alone_cannot_load_is_not_said_to_be(tmp_path: Path) -> None:
    assert output.ready(tmp_path).endswith("loaded with transformers")
    (tmp_path / "plankwright_model.py").touch()
    assert output.ready(tmp_path).endswith("loaded with its plankwright_model.py")
