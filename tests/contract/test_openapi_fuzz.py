"""The running API against its own document: whatever is sent, the answer is one that the document describes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests import Session
from schemathesis import Case, GenerationMode
from schemathesis.checks import ignored_auth, positive_data_acceptance

from tests.api.requests import job_request
from tests.api.serving import Server, serving
from tests.api.work import claim, report_metrics, succeed
from tests.checkpoints import make_tiny_checkpoint
from tests.services import PostgresDatabases

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text("utf-8"))
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
for _path, _method in OPERATIONS:
    # The session sends the key: a request that is wrong in nothing but its key would be right.
    DOCUMENT["paths"][_path][_method].pop("security", None)
OMITTED = [
    positive_data_acceptance,  # a request may fit the document and still name a model that is not there
    ignored_auth,  # tests/api/test_keys.py asks every route without a key
]


@dataclass(frozen=True, slots=True)
class Target:
    """A server with a model, a dataset, a job that has succeeded and one that waits."""

    server: Server
    session: Session
    ids: dict[str, list[str]]
    """Values of path parameters that lead somewhere."""


@pytest.fixture(scope="module")
def target(
    postgres_databases: PostgresDatabases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("fuzz")
    with postgres_databases.new() as url, serving(folder / "data", url) as server, Session() as session:
        checkpoint = make_tiny_checkpoint(folder / "checkpoint")
        body = job_request(server.client, checkpoint, steps=[{"method": "theseus", "successor_layers": 1}])
        done = server.client.post("/v1/jobs", json=body).json()["id"]
        job = claim(server.database)
        report_metrics(server.database, job, 1, loss=0.5)
        succeed(server.database, server.storage, job, {"model.tar": b"tar"}, folder)
        waiting = server.client.post("/v1/jobs", json=body).json()["id"]
        session.headers["Authorization"] = server.client.headers["Authorization"]
        ids = {
            "model_id": [body["model"]],
            "dataset_id": [body["dataset"]],
            "job_id": [done, waiting],
            "name": ["model.tar", "config.json", "theseus"],
        }
        yield Target(server, session, ids)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_answers_are_those_of_the_document(
    target: Target, path: str, method: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    described = DOCUMENT["paths"][path][method]
    if mode is GenerationMode.NEGATIVE and not _can_be_wrong(described):
        return

    @settings(
        max_examples=20,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(schema[path][method].as_strategy(generation_mode=mode), st.data())
    def send(case: Case[Any], data: st.DataObject) -> None:
        case.headers.pop("prefer", None)  # it would wait for the end of a job
        if mode is GenerationMode.POSITIVE:
            for name in case.path_parameters:
                case.path_parameters[name] = data.draw(st.sampled_from(target.ids[name]))
        case.call_and_validate(str(target.server.client.base_url), target.session, excluded_checks=OMITTED)

    send()


def _can_be_wrong(described: dict[str, Any]) -> bool:
    """Not a request whose only parameter is a text of any kind."""
    schemas = [parameter["schema"] for parameter in described.get("parameters", [])]
    return "requestBody" in described or any(schema.keys() - {"title", "type"} for schema in schemas)
