"""Jobs: what a request for one must fulfil, and what can be done to one."""

from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import Response
from sqlalchemy import Connection

from api.context import Context
from api.errors import refusal, refused_as
from api.idempotency import Repeatable, created, once
from api.jobs.estimate import estimate
from api.jobs.reader import Rendered
from api.jobs.schemas import DryRun, Job, JobRequest
from api.names import MAX_NAME
from api.problems import ApiError, Code, ProblemItem
from compression.checkpoints.facts import ModelFacts
from compression.data.summary import DatasetSummary
from compression.spec import Plan, resolve
from db import lifecycle
from db.engine import Database
from db.models import Dataset, Model
from db.repositories import datasets, models


@dataclass(frozen=True, slots=True)
class _Checked:
    """What a request is about, and the plan that comes of it."""

    model: ModelFacts
    dataset: DatasetSummary
    plan: Plan
    name: str


def dry_run(database: Database, request: JobRequest) -> DryRun:
    """Check a job and say what it would do, without creating it."""
    with database.reading() as connection:
        checked = _check(connection, request)
    expected = estimate(checked.plan, checked.model, checked.dataset, request.queue)
    return DryRun(plan=checked.plan, estimate=expected)


def create_job(database: Database, request: JobRequest, repeatable: Repeatable) -> Response:
    """Check a job and create it, queued or held."""

    def create() -> Response:
        checked = _check(connection, request)
        job = lifecycle.create_job(
            connection,
            name=checked.name,
            model_id=request.model,
            dataset_id=request.dataset,
            other_model_ids=checked.plan.other_models.values(),
            other_dataset_ids=checked.plan.other_datasets.values(),
            plan=checked.plan.model_dump(mode="json"),
            queue=request.queue,
            auto_start=request.auto_start,
        )
        return created(f"/v1/jobs/{job.id}", Job.model_validate(job))

    with database.transaction() as connection:
        return once(connection, repeatable, request.model_dump_json(), create).response


async def existing_job(context: Context, job_id: str) -> Rendered:
    """A job as it is sent.

    Raises:
        ApiError: there is no such job.
    """
    job = await context.jobs.job(job_id)
    if job is None:
        raise ApiError(Code.NOT_FOUND, f"There is no job {job_id}.")
    return job


def _check(connection: Connection, request: JobRequest) -> _Checked:
    model, dataset = models.find(connection, request.model), datasets.find(connection, request.dataset)
    if model is None or dataset is None:
        raise refusal(Code.INVALID_REQUEST, list(_unknown(request, model, dataset)))
    facts, summary = ModelFacts.model_validate(model.facts), DatasetSummary.model_validate(dataset.summary)
    with refused_as(Code.INVALID_REQUEST):
        plan = resolve(
            request.recipe(), facts, summary, _others(connection, request), _corpora(connection, request)
        )
    methods = " + ".join(step.method for step in plan.steps)
    return _Checked(facts, summary, plan, request.name or f"{model.name}: {methods}"[:MAX_NAME])


def _others(connection: Connection, request: JobRequest) -> dict[str, ModelFacts]:
    """What is known of the models that steps name, those of them that there are."""
    found = {id: models.find(connection, id) for id in request.other_models.values()}
    return {id: ModelFacts.model_validate(model.facts) for id, model in found.items() if model is not None}


def _corpora(connection: Connection, request: JobRequest) -> dict[str, DatasetSummary]:
    """The same of the datasets that they name."""
    found = {id: datasets.find(connection, id) for id in request.other_datasets.values()}
    return {id: DatasetSummary.model_validate(row.summary) for id, row in found.items() if row is not None}


def _unknown(request: JobRequest, model: Model | None, dataset: Dataset | None) -> Iterator[ProblemItem]:
    for kind, id, row in (("model", request.model, model), ("dataset", request.dataset, dataset)):
        if row is None:
            yield ProblemItem(pointer=f"/{kind}", code=f"unknown_{kind}", message=f"there is no {kind} {id}")
