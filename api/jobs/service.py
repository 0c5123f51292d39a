"""Jobs: what a request for one must fulfil, and what can be done to one."""

from fastapi import Response
from sqlalchemy import Connection

from api.context import Context
from api.errors import refusal, refused_as
from api.idempotency import Repeatable, created, once
from api.jobs.estimate import estimate
from api.jobs.reader import Rendered
from api.jobs.schemas import DryRun, Job, JobRequest
from api.problems import ApiError, Code, ProblemItem
from compression.checkpoints.facts import ModelFacts
from compression.data.summary import DatasetSummary
from compression.spec import Plan, resolve
from db import lifecycle
from db.engine import Database
from db.models import Dataset, Model
from db.repositories import datasets, models


def dry_run(database: Database, request: JobRequest) -> DryRun:
    """Check a job and say what it would do, without creating it."""
    with database.reading() as connection:
        model, dataset = _inputs(connection, request)
    facts, summary = ModelFacts.model_validate(model.facts), DatasetSummary.model_validate(dataset.summary)
    plan = _plan(request, facts, summary)
    return DryRun(plan=plan, estimate=estimate(plan, facts, summary, request.queue))


def create_job(database: Database, request: JobRequest, repeatable: Repeatable) -> Response:
    """Check a job and create it, queued or held."""

    def create() -> Response:
        model, dataset = _inputs(connection, request)
        plan = _plan(
            request, ModelFacts.model_validate(model.facts), DatasetSummary.model_validate(dataset.summary)
        )
        job = lifecycle.create_job(
            connection,
            name=request.name or _default_name(model, plan),
            model_id=request.model,
            dataset_id=request.dataset,
            plan=plan.model_dump(mode="json"),
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


def _inputs(connection: Connection, request: JobRequest) -> tuple[Model, Dataset]:
    model, dataset = models.find(connection, request.model), datasets.find(connection, request.dataset)
    if model and dataset:
        return model, dataset
    unknown = {"model": request.model} if model is None else {}
    unknown |= {"dataset": request.dataset} if dataset is None else {}
    raise refusal(
        Code.INVALID_REQUEST,
        [
            ProblemItem(pointer=f"/{kind}", code=f"unknown_{kind}", message=f"there is no {kind} {id}")
            for kind, id in unknown.items()
        ],
    )


def _plan(request: JobRequest, facts: ModelFacts, summary: DatasetSummary) -> Plan:
    with refused_as(Code.INVALID_REQUEST):
        return resolve(request.recipe(), facts, summary)


def _default_name(model: Model, plan: Plan) -> str:
    methods = " + ".join(step.method for step in plan.steps)
    return f"{model.name}: {methods}"[:200]
