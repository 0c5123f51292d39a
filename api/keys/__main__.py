"""`python -m api.keys create NAME | list | revoke ID`: who may use the service."""

from typing import Annotated

import typer

from api.keys.service import create_key
from core.settings import Settings
from db.engine import Database
from db.repositories import api_keys

app = typer.Typer(help="The keys of the service.", no_args_is_help=True)


@app.command()
def create(name: Annotated[str, typer.Argument(help="Whose it is, or what for.")]) -> None:
    """Make a key and print it: it is not shown again."""
    typer.echo(create_key(_database(), name))


@app.command(name="list")
def list_keys() -> None:
    """Print all keys, without their secret part."""
    with _database().reading() as connection:
        for key in api_keys.all_of_them(connection):
            used = f"used {key.last_used_at:%Y-%m-%d %H:%M} UTC" if key.last_used_at else "never used"
            state = "revoked" if key.revoked_at else used
            typer.echo(f"{key.id}  {key.prefix}…  {state}  {key.name}")


@app.command()
def revoke(id: Annotated[str, typer.Argument(help="Id as `list` shows it.")]) -> None:
    """Make a key worthless, within seconds."""
    database = _database()
    with database.reading() as connection:
        known = {key.id for key in api_keys.all_of_them(connection)}
    if id not in known:
        raise typer.BadParameter(f"there is no key {id}")
    with database.transaction() as connection:
        api_keys.revoke(connection, id)


def _database() -> Database:
    return Database(Settings().database_url)


if __name__ == "__main__":
    app()
