"""The way through a server: upload, create, watch, download."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plankwright.cli.live import JobView
from plankwright.cli.output import transfer
from plankwright.downloads import unpack
from plankwright.errors import PlankwrightError

if TYPE_CHECKING:
    from plankwright.client import Plankwright
    from plankwright.resources import Job


def submit(
    service: "Plankwright", model: Path, splits: Mapping[str, Path], recipe: Mapping[str, Any], shown: bool
) -> "Job":
    """Upload model and dataset, and what steps name of this machine, and create the job."""
    with transfer("model", shown) as progress:
        uploaded = service.models.upload(model, progress=progress)
    with transfer("dataset", shown) as progress:
        dataset = service.datasets.upload(
            splits["train"], splits.get("validation"), splits.get("test"), progress=progress
        )
    steps = [
        _with_uploaded_corpus(service, _with_uploaded_models(service, step, shown), shown)
        for step in recipe["steps"]
    ]
    return service.jobs.create(uploaded.id, dataset.id, **{**recipe, "steps": steps})


def _with_uploaded_models(service: "Plankwright", step: dict[str, Any], shown: bool) -> dict[str, Any]:
    """The step with ids where it names folders of this machine."""
    changed = {}
    for name in ("student", "augmentation"):
        group = step.get(name) if isinstance(step, dict) else None
        folder = group.get("model") if isinstance(group, dict) else None
        if isinstance(group, dict) and isinstance(folder, str) and Path(folder).is_dir():
            with transfer("student" if name == "student" else "language model", shown) as progress:
                uploaded = service.models.upload(Path(folder), progress=progress)
            changed[name] = {**group, "model": uploaded.id}
    return {**step, **changed} if changed else step


def _with_uploaded_corpus(service: "Plankwright", step: dict[str, Any], shown: bool) -> dict[str, Any]:
    """The step with an id where it names a file of this machine.

    Raises:
        PlankwrightError: it names a folder, and a dataset is sent as one file.
    """
    named = step.get("corpus") if isinstance(step, dict) else None
    if not isinstance(named, str) or not Path(named).exists():
        return step
    if Path(named).is_dir():
        message = f"{named} is a folder: have its texts in one file to send it, or use --local"
        raise PlankwrightError("corpus_is_a_folder", message)
    with transfer("corpus", shown) as progress:
        uploaded = service.datasets.upload(Path(named), progress=progress)
    return {**step, "corpus": uploaded.id}


def watch(service: "Plankwright", job_id: str, shown: bool) -> "Job":
    """Show the job until it has ended."""
    with JobView(shown) as view:
        for event in service.jobs.events(job_id):
            view.handle(event.type, event.message, event.data)
    return service.jobs.get(job_id)


def fetch(service: "Plankwright", job_id: str, out: Path, shown: bool) -> Path:
    """Download everything, with the model unpacked beside it; returns the model's folder.

    Raises:
        PlankwrightError: the job has no result, or not yet.
    """
    job = service.jobs.get(job_id)
    if job.state != "succeeded":
        cure = f"see why with `plankwright jobs show {job.id}`"
        if not job.terminal:
            cure = f"wait for it with `plankwright jobs watch {job.id}`"
        raise PlankwrightError("no_result", f"{job.id} is {job.state} and has no result: {cure}")
    with transfer("download", shown) as progress:
        files = service.jobs.download(job_id, out, progress=progress)
    return unpack(files["model.tar"], out)
