"""`plankwright jobs ...`"""

import json
from typing import Annotated

import typer

from plankwright.cli.options import AsJson, Key, Server, connect
from plankwright.cli.outcome import outcome

app = typer.Typer(help="List, watch and steer jobs.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(help="Id of the job.", metavar="JOB", show_default=False)]


@app.command("list")
def list_jobs(
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    server: Server = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Jobs, newest first."""
    from itertools import islice

    from plankwright.cli.output import print_json, print_table

    with connect(server, key) as service:
        jobs = list(islice(service.jobs.list(state), limit))
    if as_json:
        print_json([job.model_dump(mode="json", by_alias=True) for job in jobs])
        return
    rows = [(j.id, j.state, j.verdict, j.name, f"{j.created_at:%Y-%m-%d %H:%M}") for j in jobs]
    print_table(("id", "state", "verdict", "name", "created (UTC)"), rows)


@app.command()
def show(job: JobId, server: Server = None, key: Key = None, as_json: AsJson = False) -> None:
    """One job, with the report's table once it has succeeded."""
    from plankwright.cli.output import print_facts, print_json
    from plankwright.cli.report import print_report

    with connect(server, key) as service:
        found = service.jobs.get(job)
        report = service.jobs.report(job) if found.state == "succeeded" else None
    if as_json:
        print_json(found.model_dump(mode="json", by_alias=True))
        return
    facts: dict[str, object] = {"id": found.id, "name": found.name, "state": found.state}
    if found.phase:
        facts["phase"] = found.phase
    if found.progress:
        facts["step"] = f"{found.progress.step} of {found.progress.total}"
    if found.reason:
        facts["reason"] = f"{found.reason.message} [{found.reason.code}]"
    print_facts(facts | {"attempt": found.attempt, "model": found.model, "dataset": found.dataset})
    if report:
        print_report(report)


@app.command()
def watch(job: JobId, server: Server = None, key: Key = None, as_json: AsJson = False) -> None:
    """Follow a job to its end. The exit code tells how it ended; --json prints one event a line."""
    from plankwright.cli.output import say
    from plankwright.cli.remote import watch as follow

    with connect(server, key) as service:
        if as_json:
            for event in service.jobs.events(job):
                print(json.dumps(event.model_dump(mode="json")), flush=True)
            ended = service.jobs.get(job)
        else:
            ended = follow(service, job, shown=True)
            say(f"{ended.id} {ended.state}")
    raise typer.Exit(outcome(ended.state, ended.verdict))


@app.command()
def cancel(job: JobId, server: Server = None, key: Key = None, as_json: AsJson = False) -> None:
    """Stop a job, within seconds."""
    with connect(server, key) as service:
        _answer(service.jobs.cancel(job).model_dump(mode="json", by_alias=True), as_json)


@app.command()
def retry(
    job: JobId,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Forget the last checkpoint.")] = False,
    server: Server = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Run a failed or cancelled job again."""
    with connect(server, key) as service:
        _answer(service.jobs.retry(job, from_scratch).model_dump(mode="json", by_alias=True), as_json)


def _answer(job: dict[str, object], as_json: bool) -> None:
    from plankwright.cli.output import print_json, say

    if as_json:
        print_json(job)
    else:
        say(f"{job['id']} {job['state']}")
