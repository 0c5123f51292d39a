"""Every registered method comes in by each entrance with all that was set: options, the command line's recipe, HTTP."""

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Context
from api.keys.service import create_key
from compression import __main__ as command_line
from compression.events import EventWriter
from compression.registry import METHODS
from compression.spec import Recipe, RunSpec
from core.settings import Settings
from plankwright.cli.recipe import build_step, settings_of
from tests.api.requests import job_request
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import METHOD_SETTINGS, write_rows

EVERY_METHOD = pytest.mark.parametrize("method", sorted(METHODS))


def step(method: str) -> dict[str, Any]:
    return {"method": method, **METHOD_SETTINGS[method]}


def settled(method: str) -> dict[str, Any]:
    """The step with what was left unsaid."""
    return METHODS[method].model_validate(step(method)).model_dump(mode="json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of four layers, and rows."""
    folder = tmp_path_factory.mktemp("entrances")
    make_tiny_checkpoint(folder / "model", layers=4)
    for split, seed in (("train", 1), ("validation", 2)):
        write_rows(folder / f"{split}.jsonl", 24, seed)
    return folder


def options_of(settings: dict[str, Any], path: str = "") -> Iterator[str]:
    """`NAME=VALUE` for each setting, those of parts by their path."""
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from options_of(value, f"{path}{name}.")
        else:
            yield f"{path}{name}={json.dumps(value)}"


@EVERY_METHOD
def test_by_options(method: str) -> None:
    schema, options = METHODS[method].model_json_schema(), list(options_of(METHOD_SETTINGS[method]))
    built = build_step(schema, method, None, None, options)
    (found,) = Recipe.model_validate({"steps": [built]}).steps
    assert found.model_dump(mode="json") == settled(method)
    listed = {".".join(path) for path, _ in settings_of(schema)}
    assert {option.partition("=")[0] for option in options} <= listed


@EVERY_METHOD
def test_by_the_recipe_of_a_command_line(
    folder: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the engine: what it does with a spec is in test_methods.py."""
    specs: list[RunSpec] = []
    monkeypatch.setattr(command_line, "_engine", lambda: lambda spec, *_: specs.append(spec))
    (tmp_path / "recipe.json").write_text(json.dumps({"steps": [step(method)]}))
    files = [f"--{split}={folder / split}.jsonl" for split in ("train", "validation")]
    arguments = ["--model", str(folder / "model"), *files, "--recipe", str(tmp_path / "recipe.json")]
    options = command_line._parse(["compress", *arguments, "--out", str(tmp_path / "out")])
    command_line._compress(options, EventWriter(io.StringIO()), threading.Event())
    (spec,) = specs
    assert [found.model_dump(mode="json") for found in spec.plan.steps] == [settled(method)]
    assert RunSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.fixture(scope="module")
def sent(folder: Path, sqlite_template: Path) -> Iterator[tuple[TestClient, dict[str, Any]]]:
    """An application, and a request on a model and a dataset that it has."""
    (folder / "plankwright.db").write_bytes(sqlite_template.read_bytes())
    app = create_app(Settings(data=folder, database=None, redis=None))
    context: Context = app.state.context
    key = create_key(context.database, "test")
    with TestClient(app, headers={"Authorization": f"Bearer {key}"}) as client:
        yield client, job_request(client, folder / "model")


@EVERY_METHOD
def test_over_http(sent: tuple[TestClient, dict[str, Any]], method: str) -> None:
    client, request = sent
    body = request | {"steps": [step(method)]}
    tried = client.post("/v1/jobs", params={"dry_run": True}, json=body)
    assert tried.status_code == 200, tried.text
    created = client.post("/v1/jobs", json=body)
    assert created.status_code == 201, created.text
    for answer in (tried, client.get(created.headers["location"])):
        assert answer.json()["plan"]["steps"] == [settled(method)]
    trains = METHODS[method].model_validate(step(method)).trains
    steps = tried.json()["estimate"]["steps"][0]["training_steps"]
    assert steps == (10 if trains else 0)  # 40 rows: 5 batches, twice
