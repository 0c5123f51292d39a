import io

import pytest
from rich.console import Console

from plankwright.cli import live, output
from plankwright.cli.live import JobView


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    console = Console(file=stream, width=100)
    for module in (output, live):
        monkeypatch.setattr(module, "progress", console)
    monkeypatch.setattr(output, "results", console)
    return stream


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
