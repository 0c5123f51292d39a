"""What a job leaves behind: its report, its files, its log."""

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from api.artifacts import service
from api.artifacts.schemas import ArtifactList
from api.context import Context
from api.dependencies import FileName, JobId, Shared, contract_router
from api.jobs.service import existing_job
from api.problems import Code, problems
from api.streaming import DOWNLOAD, send_file, send_stored
from compression.report.schema import Report
from core.storage import log_key

router = contract_router("/v1/jobs/{job_id}", "artifacts")

PLAIN_TEXT = "text/plain; charset=utf-8"
LOG_EXAMPLE = """\
--- attempt 1 on wrk_01a1fd9bf85176ecbe2907c55ebba0f5 ---
2026-11-21 10:17:04,306 phase phase=load
"""


@router.get("/report", response_model=Report, responses=problems(Code.NOT_FOUND))
async def get_report(job_id: JobId, request: Request, context: Shared) -> Response:
    """What was measured on the original and on the result. Not there until the job has succeeded."""
    return await _send(context, job_id, service.REPORT, request)


@router.get("/artifacts", responses=problems(Code.NOT_FOUND))
def list_artifacts(job_id: JobId, context: Shared) -> ArtifactList:
    """The files of a job; none until it has succeeded."""
    return service.list_artifacts(context, job_id)


@router.get("/artifacts/{name}", response_class=Response, responses=DOWNLOAD)
async def download_artifact(job_id: JobId, name: FileName, request: Request, context: Shared) -> Response:
    """One file. It never changes, so that ranges and conditions on its hash work, and downloads can be resumed."""
    return await _send(context, job_id, name, request)


@router.head("/artifacts/{name}", response_class=Response, responses=DOWNLOAD)
async def describe_artifact(job_id: JobId, name: FileName, request: Request, context: Shared) -> Response:
    """Size and hash of one file."""
    return await _send(context, job_id, name, request)


@router.get(
    "/logs",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string", "examples": [LOG_EXAMPLE]}}}},
        206: {"description": "The range that was asked for"},
        **problems(Code.NOT_FOUND, Code.RANGE_NOT_SATISFIABLE),
    },
)
async def get_logs(job_id: JobId, request: Request, context: Shared) -> Response:
    """The log of all attempts. It grows while the job runs: ask for `Range: bytes=N-` to read on."""
    await existing_job(context, job_id)
    path = context.storage.path(log_key(job_id))
    if not await run_in_threadpool(path.exists):
        return Response(media_type=PLAIN_TEXT)
    return await send_file(path, request, media_type=PLAIN_TEXT, headers={"Cache-Control": "no-store"})


async def _send(context: Context, job_id: str, name: str, request: Request) -> Response:
    artifact = await run_in_threadpool(service.find_artifact, context, job_id, name)
    return await send_stored(
        context.storage.path(artifact.key),
        request,
        name=artifact.name,
        sha256=artifact.sha256,
        media_type=artifact.media_type,
    )
