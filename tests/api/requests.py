"""What tests send: checkpoints and datasets in forms, jobs."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from httpx2 import Client, Response
from starlette.testclient import TestClient

from api.context import Context
from core.settings import Settings

ROWS = 40
Files = list[tuple[str, tuple[str, bytes]]]


def tar_of(folder: Path, *, compress: bool = False) -> bytes:
    """The folder as people archive it: by its name, with its files below."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if compress else "w") as archive:
        archive.add(folder, arcname="checkpoint")
    return buffer.getvalue()


def zip_of(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return buffer.getvalue()


def files_of(folder: Path) -> Files:
    return [("files", (path.name, path.read_bytes())) for path in sorted(folder.iterdir())]


def send_model(client: Client, folder: Path, **options: Any) -> Response:
    return client.post("/v1/models", files=files_of(folder), **options)


def csv_rows(rows: int = ROWS, *, start: int = 0) -> bytes:
    lines = [f"a movie number {i},{'positive' if i % 2 else 'negative'}" for i in range(start, start + rows)]
    return "\n".join(["sentence,label", *lines, ""]).encode()


def dataset_files(rows: int = ROWS) -> Files:
    return [
        ("train", ("train.csv", csv_rows(rows))),
        ("validation", ("validation.csv", csv_rows(20, start=rows))),
    ]


def send_dataset(client: Client, **options: Any) -> Response:
    return client.post("/v1/datasets", files=dataset_files(), **options)


def job_request(client: Client, folder: Path, **fields: Any) -> dict[str, Any]:
    """A valid request for a job, on a model and a dataset that are sent for it."""
    model, dataset = send_model(client, folder), send_dataset(client)
    assert model.status_code == dataset.status_code == 201, (model.text, dataset.text)
    steps = [{"method": "theseus", "successor_layers": 2}]
    return {"model": model.json()["id"], "dataset": dataset.json()["id"], "steps": steps, **fields}


def context_of(client: TestClient) -> Context:
    """What the application behind a client has, for a look past HTTP."""
    context: Context = client.app.state.context  # type: ignore[attr-defined]  # it is FastAPI's
    return context


def stored(settings: Settings) -> list[str]:
    """Every file in the storage, those of half-done uploads included."""
    return sorted(
        str(path.relative_to(settings.storage)) for path in settings.storage.rglob("*") if path.is_file()
    )


def codes(response: Response) -> list[str]:
    """The codes of all that is wrong."""
    return [item["code"] for item in response.json()["errors"]]
