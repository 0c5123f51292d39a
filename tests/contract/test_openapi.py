"""The OpenAPI document: current, complete, with examples that are true."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from api.jobs.schemas import JobRequest
from api.problems import Code, Problem
from compression.registry import METHODS

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "openapi.json"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Json:
    content: Json = json.loads(FILE.read_text("utf-8"))
    return content


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_the_committed_document_is_current(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "api.openapi"]
    checked = subprocess.run([*command, "--check", str(FILE)], cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    stale = tmp_path / "openapi.json"
    stale.write_text(FILE.read_text("utf-8").replace("Plankwright", "Shipwright"))
    assert subprocess.run([*command, "--check", str(stale)], cwd=ROOT, capture_output=True).returncode == 1


def test_every_operation_is_described(document: Json) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for method, path, operation in operations(document):
        assert operation["description"], (method, path)
        assert operation["operationId"].isidentifier()
        if not path.startswith("/v1/"):
            continue
        assert operation["security"] == [{"key": []}], (method, path)
        errors = {int(status) for status in operation["responses"] if int(status) >= 400}
        assert errors >= {401, 422, 500, 503}
        for status in errors:
            content = operation["responses"][str(status)]["content"]
            assert list(content) == ["application/problem+json"], (method, path, status)
            assert content["application/problem+json"]["examples"]


def test_every_reference_leads_somewhere(document: Json) -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "$ref" and isinstance(value, str):
                    yield value
                else:
                    yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in references(document):
        target = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def test_examples_are_true(document: Json) -> None:
    for example in document["components"]["schemas"]["JobRequest"]["examples"]:
        JobRequest.model_validate(example)
    problems = TypeAdapter(Problem)
    examples = document["components"]["examples"]
    assert set(examples) == {code.code for code in Code}
    for code, example in examples.items():
        assert problems.validate_python(example["value"]).code == code


def test_steps_are_told_apart_by_their_method(document: Json) -> None:
    steps = document["components"]["schemas"]["JobRequest"]["properties"]["steps"]["items"]
    assert steps["discriminator"]["propertyName"] == "method"
    assert set(steps["discriminator"]["mapping"]) == set(METHODS)
