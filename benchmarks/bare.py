"""The least that FastAPI can do: what the API is measured against."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/v1/jobs/{job_id}")
async def get_job(job_id: str) -> dict[str, str]:
    return {"id": job_id, "state": "queued"}
