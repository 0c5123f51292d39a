"""Whether the service lives, whether it can work, and what it counts. Without a key: orchestrators ask."""

from collections.abc import Callable

import structlog
from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from api.context import Context
from api.dependencies import Shared, operation_id
from api.problems import Code, problems
from db.models import JobState
from db.repositories import jobs

router = APIRouter(
    tags=["health"], responses=problems(Code.INTERNAL), generate_unique_id_function=operation_id
)
log = structlog.get_logger("api")

COUNTERS_EXAMPLE = """\
# HELP plankwright_jobs Jobs by state
# TYPE plankwright_jobs gauge
plankwright_jobs{state="queued"} 1.0
"""


class Liveness(BaseModel):
    status: str = "alive"


class Readiness(BaseModel):
    ready: bool
    failing: dict[str, str]
    """What does not work, by part: `database`, `storage`."""


@router.get("/livez")
async def livez() -> Liveness:
    """The process answers."""
    return Liveness()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "A part that is needed fails"}})
def readyz(context: Shared, response: Response) -> Readiness:
    """The service can work; if not, the parts that fail."""
    checks: dict[str, Callable[[Context], None]] = {"database": _check_database, "storage": _check_storage}
    failing = {}
    for part, check in checks.items():
        try:
            check(context)
        except (SQLAlchemyError, OSError) as error:
            log.warning("not ready", part=part, error=str(error))
            failing[part] = type(error).__name__
    if failing:
        response.status_code = 503
    return Readiness(ready=not failing, failing=failing)


def _check_database(context: Context) -> None:
    with context.database.reading() as connection:
        jobs.count_without_lease(connection)  # not only a connection: the tables are there, too


def _check_storage(context: Context) -> None:
    with context.storage.staging() as folder:
        (folder / "probe").write_bytes(b"ready")


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string", "examples": [COUNTERS_EXAMPLE]}}}},
        **problems(Code.UNAVAILABLE),
    },
)
def metrics(context: Shared) -> Response:
    """Counters in Prometheus' text form."""
    with context.database.reading() as connection:
        counts = jobs.count_by_state(connection)
        unleased = jobs.count_without_lease(connection)
    by_state = {state.value: counts.get(state, 0) for state in JobState}
    return Response(
        context.metrics.expose(by_state, unleased), media_type="text/plain; version=0.0.4; charset=utf-8"
    )
