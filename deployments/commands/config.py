"""``uxo config``: look at what the service would be started with, and start nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from deployments.commands.words import AsJson, output, print_json
from deployments.commands.work import one_line
from deployments.serve_config import check_serve_config, read_serve_config
from deployments.settings import read_settings

app = typer.Typer(no_args_is_help=True, help="What the service would be started with.")


@app.callback()
def config() -> None:
    """Look at what the service would be started with."""


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A Serve config file.")] = Path("serve_config.yaml"),
    *,
    ask: Annotated[bool, typer.Option(help="Ask the database and the bucket too, as a start does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a Serve config and the UXO_* variables; what is wrong is named, with what may stand there."""
    from deployments.before_start import check_grace, check_set_up, look_around  # noqa: PLC0415 -- loads slowly

    with one_line():
        settings = read_settings()
        (application,) = check_serve_config(read_serve_config(path), path).applications
        check_grace(application.args, settings, is_needed=application.is_updated_in_turns)
        if ask:
            asyncio.run(look_around(settings))
        else:
            check_set_up(settings)
    replicas = application.args.replicas
    if as_json:
        print_json({"file": str(path), "replicas": replicas})
        return
    held = "; ".join(f"{name} with {', '.join(models)}" for name, models in replicas.items())
    output.print(f"{path} and the UXO_* variables can be used: {held}", soft_wrap=True)
