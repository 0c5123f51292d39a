"""The examples of the README, run as they stand."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compression.registry import METHODS
from core.settings import Settings
from tests.e2e.conftest import Inputs
from tests.e2e.services import ROOT, Embedded, environment

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```(bash|python)\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, inputs: Inputs, embedded: Embedded) -> Path:
    """A folder as the README assumes it: a checkpoint, two files, and the embedded server's data."""
    shutil.copytree(inputs.model, tmp_path / "my-bert")
    for name, rows in (("train", inputs.train), ("validation", inputs.validation)):
        write_csv(rows, tmp_path / f"{name}.csv")
    (tmp_path / ".plankwright").symlink_to(embedded.data)
    return tmp_path


def write_csv(jsonl: Path, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("text", "label"))
        writer.writeheader()
        writer.writerows(json.loads(line) for line in jsonl.read_text().splitlines())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_named_with_its_card(method: str) -> None:
    card = f"compression/methods/{method}/README.md"
    assert f"[{method}]({card})" in README
    assert (ROOT / card).exists()


def test_there_is_an_example_for_each_way() -> None:
    assert [language for language, _ in EXAMPLES] == ["bash", "python", "bash"]


@pytest.mark.parametrize(("language", "code"), EXAMPLES, ids=["command line", "python", "curl"])
def test_an_example_does_what_it_says(folder: Path, tmp_path: Path, language: str, code: str) -> None:
    program = [sys.executable, "-c"] if language == "python" else ["bash", "-euc"]
    told = environment()
    told["PATH"] = f"{make_command(tmp_path)}:{told['PATH']}"
    done = subprocess.run([*program, code], cwd=folder, env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = {"my-bert-compressed/model/config.json", "result/model.tar", "model.tar"}
    assert len([name for name in results if (folder / name).exists()]) == 1


def make_command(folder: Path) -> Path:
    """`plankwright` as an installed package has it."""
    path = folder / "bin" / "plankwright"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m plankwright "$@"\n')
    path.chmod(0o755)
    return path.parent


def test_every_file_that_the_documentation_points_to_is_there() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} points to {target}"


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for name in Settings.model_fields:
        assert f"`{name.upper()}`" in page
