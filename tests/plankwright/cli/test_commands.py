import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compression.export.sums import ALWAYS_THERE, write_sums
from plankwright.cli.app import app
from plankwright.client import Plankwright
from plankwright.discovery import Server
from tests.checkpoints import make_tiny_checkpoint
from tests.services import free_port

HEAVY = ("httpx2", "plankwright.client", "rich.progress", "torch", "transformers")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "plankwright", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "400"},  # an error is not cut into lines, wherever its paths end
    )


def test_help_is_there_without_loading_what_takes_time() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from plankwright.cli.app import app\n"
        "result = CliRunner().invoke(app, ['compress', '--help'])\n"
        "assert 'MODEL_DIR' in result.output, result.output\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_exit_codes_are_in_the_help_and_in_the_documentation() -> None:
    from plankwright.cli.outcome import Exit

    shown = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    documented = (Path(__file__).parents[3] / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    for code in Exit:
        assert f" {code.value} " in shown
        assert f"| {code.value} |" in documented


def test_no_server_is_an_error_with_a_cure() -> None:
    done = run("jobs", "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert "plankwright serve" in done.stderr
    done = run("jobs", "list", "--json")
    assert json.loads(done.stderr)["error"]["code"] == "no_server"


def test_a_server_that_is_away_has_its_own_exit_code() -> None:
    done = run("models", "--server", f"http://127.0.0.1:{free_port()}", "--key", "k")
    assert done.returncode == 6
    assert "cannot be reached" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["compress"],
        ["compress", "nowhere", "--train", "nowhere.csv"],
        ["jobs", "fly"],
        ["compress", ".", "--train", __file__, "--local", "--set", "epochs"],
    ],
)
def test_wrong_usage_has_its_own_exit_code(arguments: list[str]) -> None:
    assert run(*arguments).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compress", "nowhere", "--train", __file__], "'nowhere' does not exist"),
        (["compress", "."], "Missing option '--train'"),
        (["compress", ".", "--train", __file__, "--layers", "0"], "'--layers'"),
        (["compress", ".", "--train", __file__, "--local", "--set", "epochs"], "NAME=VALUE"),
        (["jobs", "show"], "Missing argument 'JOB'"),
        (["jobs", "fly"], "'fly'"),
        (["serve"], "No such option: --json"),
    ],
)
def test_wrong_usage_is_one_json_object_where_json_is_wanted(arguments: list[str], said: str) -> None:
    done = run(*arguments, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    error = json.loads(done.stderr)["error"]
    assert said in error.pop("message")
    assert error == {"code": "wrong_usage", "errors": [], "request_id": None}


def test_a_job_without_a_result_is_no_download(
    service: Plankwright, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANKWRIGHT_SERVER", server.url)
    monkeypatch.setenv("PLANKWRIGHT_API_KEY", server.key)
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\ngood film,positive\nbad film,negative\n")
    model = service.models.upload(make_tiny_checkpoint(tmp_path / "my-bert"))
    dataset = service.datasets.upload(rows, rows)
    job = service.jobs.create(model.id, dataset.id, [{"method": "theseus", "successor_layers": 1}])

    queued = run("download", job.id, "--out", "result")
    assert (queued.returncode, queued.stdout) == (1, "")
    assert queued.stderr == (
        f"Error: {job.id} is queued and has no result: wait for it with `plankwright jobs watch {job.id}` [no_result]\n"
    )
    service.jobs.cancel(job.id)
    cancelled = run("download", job.id, "--out", "result", "--json")
    assert (cancelled.returncode, cancelled.stdout) == (1, "")
    error = json.loads(cancelled.stderr)["error"]
    assert error["code"] == "no_result"
    assert f"{job.id} is cancelled" in error["message"]
    assert f"plankwright jobs show {job.id}" in error["message"]
    assert not Path("result").exists()


def test_a_folder_without_its_sums_is_damaged(tmp_path: Path) -> None:
    done = run("verify", str(tmp_path), "--json")
    assert done.returncode == 7
    assert json.loads(done.stderr)["error"]["code"] == "missing_file"


@pytest.mark.parametrize(
    ("torch", "code"),
    [
        ("raise ModuleNotFoundError('there is no torch')", "internal_error"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "process_lost"),
    ],
)
def test_an_engine_that_fails_is_not_taken_for_a_damaged_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch: str, code: str
) -> None:
    (tmp_path / "torch.py").write_text(torch)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = tmp_path / "result"
    result.mkdir()
    for name in ALWAYS_THERE:
        (result / name).touch()
    write_sums(result)
    done = run("verify", str(result), "--json")
    assert json.loads(done.stderr)["error"]["code"] == code
    assert done.returncode == 1


def test_lists_are_tables_or_json(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANKWRIGHT_SERVER", server.url)
    monkeypatch.setenv("PLANKWRIGHT_API_KEY", server.key)
    shown = run("methods").stdout
    assert "theseus" in shown
    assert "layer_drop" in shown
    (method,) = json.loads(run("methods", "theseus", "--json").stdout)
    assert method["schema"]["properties"]["successor_layers"]
    detail = run("methods", "theseus").stdout
    assert "schedule.base_rate" in detail
    assert "preset distilled: {" in detail
    assert "recommended preset: distilled" in detail
    assert method["paper"] in detail
    assert f"architectures: {', '.join(method['architectures'])}" in detail
    assert re.search(r"schedule\.type +constant \| linear \| cosine \| step +linear ", detail)
    assert re.search(r"\ndistillation +object +off +A term", detail)
    assert "\ntraining  " not in detail
    for command in (["models"], ["datasets"], ["jobs", "list"]):
        assert json.loads(run(*command, "--json").stdout) == []


LOCAL = ["--local"]
SERVER = ["--server", "http://127.0.0.1:1", "--key", "k"]


@pytest.mark.parametrize(
    ("fields", "form", "options", "said"),
    [
        ({"steps": []}, LOCAL, ["--layers", "1", "--set", "fitted=true"], "--layers, --set would not change"),
        ({"steps": []}, SERVER, ["--method", "theseus", "--epochs", "2"], "--method, --epochs would not"),
        ({"constraints": None}, LOCAL, ["--constraint", "min_retention=0.9"], "not a JSON object"),
        ({"steps": [], "model": "mdl_1"}, SERVER, [], "leave model out of the file"),
        (
            {"steps": [], "queue": "gpu", "auto_start": False},
            LOCAL,
            [],
            "a use for queue and auto_start: leave that out of job.json",
        ),
    ],
)
def test_a_recipe_and_options_that_do_not_go_together_are_wrong_usage(
    fields: dict[str, object], form: list[str], options: list[str], said: str
) -> None:
    Path("job.json").write_text(json.dumps(fields))
    done = run("compress", ".", "--train", __file__, "--recipe", "job.json", *form, *options)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert [file.name for file in Path().iterdir()] == ["job.json"]


def test_a_file_that_cannot_be_written_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("compress", ".", "--train", __file__, "--local", "--out", "file/out", "--json")
    assert done.returncode == 1
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "file_error"
    assert "file/out" in error["message"]


def test_a_folder_with_something_in_it_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    arguments = [str(tmp_path), "--train", str(tmp_path / "notes.txt"), "--local", "--out", str(tmp_path)]
    done = run("compress", *arguments)
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
