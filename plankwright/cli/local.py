"""The engine without a server: it runs as a process that is given files and answers in JSON lines."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plankwright.errors import PlankwrightError

LOG = "logs.txt"
Tell = Callable[[str, str, Mapping[str, Any]], None]
"""Takes type, message and data of an event."""


class EngineFailed(PlankwrightError):
    """The engine has said why it could not do it, or has died."""

    def __init__(self, code: str, message: str, *, input_at_fault: bool = False) -> None:
        self.input_at_fault = input_at_fault
        """What it was given is to blame: not the engine, nor this machine."""
        super().__init__(code, message)


def method_schema(method: str) -> dict[str, Any]:
    """The JSON schema of a method's settings, as the engine installed here knows it."""
    done = subprocess.run(_engine("methods"), capture_output=True, text=True, check=False)
    if done.returncode:
        raise PlankwrightError("engine_missing", f"the engine cannot be started:\n{done.stderr}")
    schemas: dict[str, dict[str, Any]] = json.loads(done.stdout)
    if method not in schemas:
        raise PlankwrightError(
            "unknown_method", f"there is no method {method!r}; there are: {', '.join(schemas)}"
        )
    return schemas[method]


def compress(
    model: Path, splits: Mapping[str, Path], recipe: Mapping[str, Any], out: Path, tell: Tell
) -> None:
    """Leave in `out` what a download would, or its log alone where the engine failed.

    Raises:
        EngineFailed: with the engine's own code and words.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name}-") as scratch:
        work = Path(scratch) / "out"
        work.mkdir()
        recipe_file = Path(scratch) / "recipe.json"
        recipe_file.write_text(json.dumps(recipe), encoding="utf-8")
        files = [part for split, file in splits.items() for part in (f"--{split}", str(file))]
        arguments = ["--model", str(model), *files, "--recipe", str(recipe_file), "--out", str(work)]
        _follow(_engine("compress", *arguments), out / LOG, tell)
        for artifact in (work / "artifacts").iterdir():
            artifact.replace(out / artifact.name)
        (work / "model").rename(out / "model")


def verify(folder: Path) -> dict[str, Any]:
    """What the engine found when it evaluated a result again.

    Raises:
        EngineFailed: with `input_at_fault` where the result is damaged or does not give what its report says.
    """
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        _follow(
            _engine("verify", str(folder)),
            Path(scratch) / LOG,
            lambda type, message, data: found.update(data),
        )
    return found


def _engine(*arguments: str) -> list[str]:
    # -P: modules of the current folder are the user's, whatever they are called.
    return [sys.executable, "-P", "-m", "compression", *arguments]


def _follow(command: list[str], log: Path, tell: Tell) -> None:
    failure: Mapping[str, Any] | None = None
    with (
        log.open("wb") as log_file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log_file) as process,
    ):
        assert process.stdout is not None, "it is a pipe"
        try:
            for line in process.stdout:
                event = json.loads(line)
                if event["type"] == "failed":
                    failure = event
                else:
                    tell(event["type"], event.get("message", event.get("phase", "")), event)
        except BaseException:
            process.kill()  # nobody will go on from a checkpoint
            process.wait()  # what it writes into is removed now
            raise
    if failure is not None:
        at_fault = failure["reason_class"] == "user"
        raise EngineFailed(failure["code"], failure["message"], input_at_fault=at_fault)
    if process.returncode:
        end = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise EngineFailed("process_lost", f"the engine ended with exit code {process.returncode}:\n{end}")
