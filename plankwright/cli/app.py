"""The commands. Imports that take time stand in their bodies, so that `--help` is at once there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from plankwright.cli import jobs
from plankwright.cli.options import AsJson, Key, Server, connect
from plankwright.cli.outcome import Exit

app = typer.Typer(
    help="Makes a fine-tuned BERT small and fast.",
    epilog="Exit codes: 0 done, 1 error, 2 usage, 3 constraints not met, 4 job failed, 5 job cancelled, "
    "6 server unreachable, 7 damaged result, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(jobs.app, name="jobs")

DataFile = typer.Option(
    exists=True, dir_okay=False, help="csv, tsv, jsonl, txt, parquet, conll, conllu or SQuAD json."
)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8000,
    data: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder of everything that is kept. [default: .plankwright]"),
    ] = None,
) -> None:
    """Run the embedded server: API and worker over one folder. Prints `ready URL`; the key is in DATA/api-key."""
    import signal
    import threading

    from plankwright.discovery import data_folder
    from plankwright.embedded import EmbeddedServer

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with EmbeddedServer(data or data_folder(), host, port) as server:
        print(f"ready {server.url}", flush=True)
        server.watch(stop)


@app.command()
def compress(
    model: Annotated[Path, typer.Argument(exists=True, metavar="MODEL_DIR", help="Checkpoint folder.")],
    train: Annotated[Path, DataFile],
    validation: Annotated[Path | None, DataFile] = None,
    test: Annotated[Path | None, DataFile] = None,
    method: Annotated[
        str | None, typer.Option(help="See `plankwright methods`. [default: theseus]", show_default=False)
    ] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Layers of the result; half by default.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training rows.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any setting of the method; repeatable."),
    ] = None,
    constraint: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="E.g. min_retention=0.97; repeatable.")
    ] = None,
    export: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT",
            help="onnx or onnx-int8: a file beside the checkpoint, for ONNX Runtime; repeatable.",
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="JSON file with a job's fields but for its model and dataset."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    out: Annotated[Path | None, typer.Option(file_okay=False, help="[default: MODEL_DIR-compressed]")] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Without a server, in this machine's engine.")
    ] = False,
    server: Server = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Compress a model and bring the result here."""
    from plankwright.cli.compress import Order, compress_here, compress_on_server

    order = Order(
        model=model,
        splits={
            name: file
            for name, file in (("train", train), ("validation", validation), ("test", test))
            if file
        },
        out=out or model.resolve().with_name(f"{model.resolve().name}-compressed"),
        method=method,
        layers=layers,
        epochs=epochs,
        settings=setting or [],
        constraints=constraint or [],
        exports=export or [],
        recipe=recipe,
        seed=seed,
        as_json=as_json,
    )
    if local:
        raise typer.Exit(compress_here(order))
    with connect(server, key) as service:
        raise typer.Exit(compress_on_server(order, service))


@app.command()
def download(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")],
    out: Annotated[Path | None, typer.Option(file_okay=False, help="[default: JOB]")] = None,
    server: Server = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Download the files of a job and unpack the model. Goes on where an earlier download broke."""
    from plankwright.cli.output import print_json, ready, say
    from plankwright.cli.remote import fetch

    with connect(server, key) as service:
        model = fetch(service, job, out or Path(job), shown=not as_json)
    if as_json:
        print_json({"job": job, "out": str(out or Path(job)), "model": str(model)})
    else:
        say(ready(model))


@app.command()
def verify(
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, metavar="DIR", help="A downloaded result.")
    ],
    as_json: AsJson = False,
) -> None:
    """Check the sums of a result and evaluate its model again, on this machine."""
    from plankwright.cli.local import EngineFailed
    from plankwright.cli.local import verify as check
    from plankwright.cli.outcome import report_error
    from plankwright.cli.output import print_json, say

    try:
        found = check(folder)
    except EngineFailed as error:
        code = report_error(error, as_json)
        raise typer.Exit(Exit.DAMAGED if error.input_at_fault else code) from None
    if as_json:
        print_json(found)
    else:
        say(f"{found['files']} files are whole; {_what_was_measured(found)}")


def _what_was_measured(found: Mapping[str, Any]) -> str:
    reported = f"{found['metric']} {found['reported']:.4f}"
    if found["measured"] is None:
        return f"the answers on {found['rows']} rows are the reported ones; {reported} takes the original to measure"
    return (
        f"{found['metric']} {found['measured']:.4f} on {found['rows']} rows, reported {found['reported']:.4f}"
    )


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="One method, with all its settings.")] = None,
    server: Server = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """What can be done to a model."""
    from plankwright.cli.catalogue import print_method
    from plankwright.cli.output import print_json, print_table

    with connect(server, key) as service:
        found = [service.methods.get(name)] if name else list(service.methods.list())
    if as_json:
        print_json([method.model_dump(mode="json", by_alias=True) for method in found])
    elif name:
        print_method(found[0])
    else:
        print_table(("method", ""), [(method.name, method.summary) for method in found])


@app.command()
def models(server: Server = None, key: Key = None, as_json: AsJson = False) -> None:
    """Models on the server, newest first."""
    with connect(server, key) as service:
        found = list(service.models.list())
    rows = [(m.id, m.name, m.facts.architecture, m.facts.layers, f"{m.facts.parameters:,}") for m in found]
    _print_list(found, ("id", "name", "architecture", "layers", "parameters"), rows, as_json)


@app.command()
def datasets(server: Server = None, key: Key = None, as_json: AsJson = False) -> None:
    """Datasets on the server, newest first."""
    with connect(server, key) as service:
        found = list(service.datasets.list())
    rows = [(d.id, d.name, f"{d.created_at:%Y-%m-%d %H:%M}") for d in found]
    _print_list(found, ("id", "name", "created (UTC)"), rows, as_json)


def _print_list(
    found: Any, headers: tuple[str, ...], rows: Sequence[Sequence[object]], as_json: bool
) -> None:
    from plankwright.cli.output import print_json, print_table

    if as_json:
        print_json([resource.model_dump(mode="json", by_alias=True) for resource in found])
    else:
        print_table(headers, rows)
