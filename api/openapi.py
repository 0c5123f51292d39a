"""The OpenAPI document: `python -m api.openapi > docs/openapi.json`; `--check FILE` says whether a file is current."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.examples import schema_examples
from api.problems import Problem, examples

VERSION = "1.0.0"
DESCRIPTION = """\
Makes a fine-tuned BERT small and fast. Send a checkpoint and a dataset, create a job, watch it, and download the
compressed model with a report of what was gained and what was lost.

Every error is a problem (RFC 9457) with a stable `code`; `errors` lists all that is wrong with an input.
"""


def describe(app: FastAPI) -> None:
    """Give the application its document, made when it is first asked for."""
    app.title, app.version, app.description = "Plankwright", VERSION, DESCRIPTION

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the way that FastAPI documents


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = document["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    schemas |= problem.pop("$defs") | {"Problem": problem}
    # FastAPI's own form of a 422, which no route answers with.
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    for name, own in schema_examples().items():
        schemas[name]["examples"] = own
    document["components"] |= {"schemas": dict(sorted(schemas.items())), "examples": examples()}
    return document


def main() -> None:
    """Print the document, or compare it with a file."""
    from api.app import create_app
    from core.settings import Settings

    with TemporaryDirectory() as folder:
        document = create_app(Settings(data=Path(folder), database=None, redis=None)).openapi()
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if sys.argv[1:2] != ["--check"]:
        sys.stdout.write(text)
    elif Path(sys.argv[2]).read_text(encoding="utf-8") != text:
        raise SystemExit(f"{sys.argv[2]} is out of date: python -m api.openapi > {sys.argv[2]}")


if __name__ == "__main__":
    main()
