"""The OpenAPI document: current, complete, with examples that are true."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import validator_for
from pydantic import TypeAdapter

from api.jobs.schemas import JobRequest
from api.problems import Code, Problem
from compression.registry import METHODS

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "openapi.json"
Json = dict[str, Any]
ERRORS_OF_HEALTH = {"/livez": {500}, "/readyz": {500, 503}, "/metrics": {500, 503}}
"""Of the routes that need no key and take no input; two of them ask the database."""


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
        errors = {int(status) for status in operation["responses"] if int(status) >= 400}
        if path.startswith("/v1/"):
            assert operation["security"] == [{"key": []}], (method, path)
            assert errors >= {401, 422, 500, 503}
        else:
            assert errors == ERRORS_OF_HEALTH[path]
        told_otherwise = {503} if path == "/readyz" else set()  # its 503 says which part is away
        for status in errors - told_otherwise:
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


def resolved(document: Json, schema: Json) -> Json:
    """The schema that a reference leads to."""
    if "$ref" not in schema:
        return schema
    found: Json = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def example_of(document: Json, schema: Json) -> Any:
    """What a reader is shown: the schema's own example, or one put together from those of its parts.

    Raises:
        KeyError: a part has none.
    """
    schema = resolved(document, schema)
    if "examples" in schema:
        return schema["examples"][0]
    if schema.get("type") == "array":
        return [example_of(document, schema["items"])]
    return {name: example_of(document, part) for name, part in schema["properties"].items()}


def schemas_of_contents(document: Json) -> Iterator[tuple[str, Json]]:
    """The schemas of all that is sent in JSON or text, and of all that is answered so where nothing is wrong."""
    for method, path, operation in operations(document):
        successes = [response for status, response in operation["responses"].items() if status < "300"]
        for content in (operation.get("requestBody", {}), *successes):
            for media_type, described in content.get("content", {}).items():
                if media_type == "application/json" or media_type.startswith("text/"):
                    yield f"{method} {path} {media_type}", described["schema"]


def schemas_with_examples(node: Any) -> Iterator[Json]:
    if isinstance(node, dict):
        if isinstance(node.get("examples"), list):
            yield node
        for key, value in node.items():
            if key not in ("examples", "default"):
                yield from schemas_with_examples(value)
    elif isinstance(node, list):
        for value in node:
            yield from schemas_with_examples(value)


def test_whatever_is_sent_and_answered_has_an_example(document: Json) -> None:
    seen = set()
    for place, schema in schemas_of_contents(document):
        try:
            example = example_of(document, schema)
        except KeyError as lacking:
            pytest.fail(f"{place}: no example of {lacking}")
        validator_for(schema | {"components": document["components"]}).validate(example)
        seen.add(place)
    assert {"post /v1/jobs application/json", "get /metrics text/plain"} <= seen


def test_every_field_of_a_form_is_shown_or_told(document: Json) -> None:
    forms = [
        operation["requestBody"]["content"]["multipart/form-data"]["schema"]
        for _, path, operation in operations(document)
        if "multipart/form-data" in operation.get("requestBody", {}).get("content", {})
    ]
    assert len(forms) == 2
    for form in forms:
        for name, field in form["properties"].items():
            assert field.get("examples") or field.get("description"), name


def test_examples_fit_their_schemas(document: Json) -> None:
    schemas = list(schemas_with_examples(document))
    for schema in schemas:
        validator = validator_for(schema | {"components": document["components"]})
        for example in schema["examples"]:
            validator.validate(example)
    assert len(schemas) > 30


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
