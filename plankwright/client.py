"""The service, in Python."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from plankwright.discovery import find_server
from plankwright.downloads import POOLING, download
from plankwright.errors import PlankwrightError
from plankwright.resources import Artifact, Dataset, Event, Job, Method, Model, Page, Resource
from plankwright.transport import Pauses, Progress, Transport, Upload

StrPath = str | os.PathLike[str]
Step = Mapping[str, Any]
"""A method with its settings, e.g. `{"method": "theseus", "successor_layers": 3}`."""

LONGEST_WAIT = 30
"""Seconds that one request of `Jobs.wait` may be held."""
MODEL_FILES = (".json", ".safetensors", ".txt")
"""Suffixes of what belongs to a checkpoint; training states and the like stay where they are."""

R = TypeVar("R", bound=Resource)


def _silent(done: int, total: int) -> None:
    """The progress of those who did not ask."""


def _checkpoint_files(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.suffix in MODEL_FILES)
    files += [folder / POOLING] * (folder / POOLING).is_file()
    if not any(file.suffix == ".safetensors" for file in files):
        message = f"{folder} holds no *.safetensors: load the model, and save_pretrained writes them"
        raise PlankwrightError("no_safetensors", message)
    return files


def _fetch(
    transport: Transport, path: str, files: Sequence[Artifact], folder: Path, progress: Progress
) -> dict[str, Path]:
    """Files below a path to a folder, and where each one lies then."""
    total, done = sum(file.size for file in files), 0
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for file in files:
        found[file.name] = download(
            transport,
            f"{path}/{file.name}",
            file,
            folder,
            lambda have, _, before=done: progress(before + have, total),  # type: ignore[misc]
        )
        done += file.size
    return found


class Plankwright:
    """A connection to a server. Without arguments, to the one that PLANKWRIGHT_SERVER names, or the embedded one here.

    Raises:
        PlankwrightError: there is none, or no key for it.
    """

    def __init__(self, server: str | None = None, key: str | None = None) -> None:
        found = find_server(server, key)
        self.url = found.url
        self._transport = Transport(found.url, found.key)
        self.models = Models(self._transport)
        self.datasets = Datasets(self._transport)
        self.jobs = Jobs(self._transport)
        self.methods = Methods(self._transport)

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Collection:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _pages(self, path: str, resource: type[R], **params: str | int) -> Iterator[R]:
        while True:
            answer = self._transport.request("GET", path, params=params)
            page = Page[resource].model_validate_json(answer.content)  # type: ignore[valid-type]
            yield from page.data
            if page.next_cursor is None:
                return
            params["cursor"] = page.next_cursor


class Models(_Collection):
    def upload(self, folder: StrPath, name: str | None = None, progress: Progress = _silent) -> Model:
        """Send a checkpoint folder, or a .zip, .tar or .tar.gz of one."""
        path = Path(folder)
        files = [("files", file) for file in _checkpoint_files(path)] if path.is_dir() else [("file", path)]
        folder_of_files = path if path.is_dir() else None
        upload = Upload(files, {"name": name or path.resolve().name}, progress, folder_of_files)
        return Model.model_validate_json(self._transport.request("POST", "/v1/models", upload=upload).content)

    def get(self, id: str) -> Model:
        return Model.model_validate_json(self._transport.request("GET", f"/v1/models/{id}").content)

    def list(self) -> Iterator[Model]:
        """Newest first."""
        return self._pages("/v1/models", Model)

    def download(self, id: str, folder: StrPath, progress: Progress = _silent) -> Path:
        """Fetch the files of a model into a folder, and return it; like `Jobs.download`."""
        _fetch(self._transport, f"/v1/models/{id}/files", self.get(id).files, Path(folder), progress)
        return Path(folder)

    def delete(self, id: str) -> None:
        self._transport.request("DELETE", f"/v1/models/{id}")


class Datasets(_Collection):
    def upload(
        self,
        train: StrPath,
        validation: StrPath | None = None,
        test: StrPath | None = None,
        name: str | None = None,
        progress: Progress = _silent,
    ) -> Dataset:
        """Send a file for each split: csv, tsv, jsonl, txt (a text each line), parquet, conll, conllu or SQuAD json."""
        splits = {"train": train, "validation": validation, "test": test}
        files = [(split, Path(file)) for split, file in splits.items() if file is not None]
        upload = Upload(files, {"name": name or Path(train).stem}, progress)
        return Dataset.model_validate_json(
            self._transport.request("POST", "/v1/datasets", upload=upload).content
        )

    def get(self, id: str) -> Dataset:
        return Dataset.model_validate_json(self._transport.request("GET", f"/v1/datasets/{id}").content)

    def list(self) -> Iterator[Dataset]:
        """Newest first."""
        return self._pages("/v1/datasets", Dataset)

    def delete(self, id: str) -> None:
        self._transport.request("DELETE", f"/v1/datasets/{id}")


class Methods(_Collection):
    def list(self) -> Iterator[Method]:
        return self._pages("/v1/methods", Method)

    def get(self, name: str) -> Method:
        return Method.model_validate_json(self._transport.request("GET", f"/v1/methods/{name}").content)


class Jobs(_Collection):
    def create(self, model: str, dataset: str, steps: Sequence[Step], **settings: Any) -> Job:
        """Submit a job. `settings` are the other fields of a job: name, task, evaluation, constraints, seed, ...

        The request can be repeated safely: it carries an idempotency key of its own.
        """
        body = {"model": model, "dataset": dataset, "steps": list(steps), **settings}
        return Job.model_validate_json(self._transport.request("POST", "/v1/jobs", json=body).content)

    def dry_run(self, model: str, dataset: str, steps: Sequence[Step], **settings: Any) -> dict[str, Any]:
        """Check everything about a job and estimate its time and memory, without creating it."""
        body = {"model": model, "dataset": dataset, "steps": list(steps), **settings}
        answer = self._transport.request("POST", "/v1/jobs", params={"dry_run": "true"}, json=body)
        checked: dict[str, Any] = answer.json()
        return checked

    def get(self, id: str) -> Job:
        return Job.model_validate_json(self._transport.request("GET", f"/v1/jobs/{id}").content)

    def list(self, state: str | None = None) -> Iterator[Job]:
        """Newest first."""
        return self._pages("/v1/jobs", Job, **({"state": state} if state else {}))

    def wait(self, id: str, timeout: float | None = None) -> Job:
        """The job once it has ended, or as it is after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = LONGEST_WAIT if deadline is None else min(LONGEST_WAIT, deadline - time.monotonic())
            answer = self._transport.request(
                "GET", f"/v1/jobs/{id}", headers={"Prefer": f"wait={max(0, round(left))}"}
            )
            job = Job.model_validate_json(answer.content)
            if job.terminal or (deadline is not None and time.monotonic() >= deadline):
                return job

    def events(self, id: str, after: int = 0) -> Iterator[Event]:
        """Everything that happens to the job from event `after` on, as it happens, until the job has ended."""
        last, pauses = after, Pauses(self._transport.url)
        while True:
            try:
                with self._transport.events(f"/v1/jobs/{id}/events", {"Last-Event-ID": str(last)}) as stream:
                    for message in stream:
                        event = Event.model_validate_json(message.data)
                        last = event.id
                        pauses.reset()
                        yield event
            except httpx2.TransportError as error:
                pauses.after(error)
                continue
            if self.get(id).terminal:
                return

    def cancel(self, id: str) -> Job:
        return self._act(id, "cancel")

    def retry(self, id: str, from_scratch: bool = False) -> Job:
        """Run a failed or cancelled job again, from its last checkpoint or from the beginning."""
        return self._act(id, "retry", {"from": "scratch" if from_scratch else "checkpoint"})

    def report(self, id: str) -> dict[str, Any]:
        report: dict[str, Any] = self._transport.request("GET", f"/v1/jobs/{id}/report").json()
        return report

    def logs(self, id: str) -> str:
        return self._transport.request("GET", f"/v1/jobs/{id}/logs").text

    def artifacts(self, id: str) -> Sequence[Artifact]:
        return list(self._pages(f"/v1/jobs/{id}/artifacts", Artifact))

    def download(
        self, id: str, folder: StrPath, names: Sequence[str] | None = None, progress: Progress = _silent
    ) -> dict[str, Path]:
        """Fetch the artifacts of a job, all by default, and return where each one lies.

        A download that broke goes on where it broke; every file is checked against its hash.
        """
        known = {artifact.name: artifact for artifact in self.artifacts(id)}
        wanted = list(known) if names is None else list(names)
        for name in wanted:
            if name not in known:
                raise PlankwrightError(
                    "no_such_artifact", f"the job has no {name!r}, only {', '.join(known)}"
                )
        files = [known[name] for name in wanted]
        return _fetch(self._transport, f"/v1/jobs/{id}/artifacts", files, Path(folder), progress)

    def _act(self, id: str, action: str, body: Mapping[str, Any] | None = None) -> Job:
        return Job.model_validate_json(
            self._transport.request("POST", f"/v1/jobs/{id}/{action}", json=body).content
        )
