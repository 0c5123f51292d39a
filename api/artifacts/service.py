"""The files that a job made."""

from api.artifacts.schemas import Artifact, ArtifactList
from api.context import Context
from api.problems import ApiError, Code
from db.errors import NotFound
from db.models import Artifact as ArtifactRow
from db.repositories import artifacts, jobs

REPORT = "report.json"


def list_artifacts(context: Context, job_id: str) -> ArtifactList:
    """All of them: none before the job has succeeded. Raises NotFound."""
    with context.database.reading() as connection:
        if jobs.find(connection, job_id) is None:
            raise NotFound("job", job_id)
        rows = artifacts.of_job(connection, job_id)
    return ArtifactList(data=[Artifact.model_validate(row) for row in rows])


def find_artifact(context: Context, job_id: str, name: str) -> ArtifactRow:
    """Raises ApiError, which says what the job is up to if there are no files yet."""
    with context.database.reading() as connection:
        artifact = artifacts.find(connection, job_id, name)
        if artifact is not None:
            return artifact
        job = jobs.find(connection, job_id)
    if job is None:
        raise NotFound("job", job_id)
    detail = f"Job {job_id} has no file {name}: it is {job.state}, and files appear when it succeeds."
    raise ApiError(Code.NOT_FOUND, detail, state=job.state)
