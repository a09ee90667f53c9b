"""The ``uxo`` command: a thin layer of words over what the other files do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deployments import pictures
from deployments.commands import config as configs
from deployments.commands import keys, tasks, tenants, webhooks, weights
from deployments.commands.drain import drain
from deployments.commands.migrate import migrate
from deployments.commands.queue import queue
from deployments.errors import UxoError
from deployments.first_light import curl_command, first_wishes, take
from deployments.serve_config import check_serve_config, read_serve_config
from deployments.settings import Settings, SettingsInvalid, read_settings
from deployments.tenants.keys import configured_keys
from deployments.terminal import foreground, interruptible, progress
from models.loading import TINY, UnusableWeights, find_weights

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Serve UNO and USO on your own machines.",
)
# What is printed is plain text: brackets and colons mean nothing, and long lines stay whole for pasting.
console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
#: Seconds until a signal is heeded that another thread has taken; it would not end a ``signal.pause``.
ATTENTION_S = 0.5


@app.callback()
def uxo() -> None:
    """Serve UNO and USO on your own machines."""


@app.command()
def run(
    config: Annotated[Path, typer.Option(help="A Serve config file.")] = Path("serve_config.yaml"),
    *,
    first_light: Annotated[bool, typer.Option(help="Ask for one picture of each model at the start.")] = True,
) -> None:
    """Run the whole service on this machine until Ctrl-C."""
    with foreground():
        try:
            with interruptible():
                console.print(f"uxo-serve {version('uxo-serve')}, stop with Ctrl-C")
                with progress(console) as report:
                    _serve(read_settings(), config, report=report, first_light=first_light)
        except KeyboardInterrupt:
            console.print("stopped, nothing is left running")
        except UxoError as error:
            console.print(f"uxo run: {error.message}", style="red")
            raise typer.Exit(1) from error


def _serve(settings: Settings, config: Path, *, report: Callable[[str], None], first_light: bool) -> None:
    # They load slowly; the first line is out by now.
    from deployments.before_start import check_grace, look_around  # noqa: PLC0415 -- the same
    from deployments.local import authority, running  # noqa: PLC0415 -- the same

    (application,) = check_serve_config(read_serve_config(config), config).applications
    check_grace(application.args, settings)
    address = f"http://{authority(settings.host, settings.port)}"
    key = _first_key(settings)
    if first_light and not key:
        raise SettingsInvalid("UXO_BOOTSTRAP_KEYS=none leaves no key to ask for the first pictures: --no-first-light")
    _check_weights(settings.weights)
    asyncio.run(look_around(settings))
    with running(config, host=settings.host, port=settings.port, report=report):
        for wish in first_wishes() if first_light else []:
            path = take(wish, base_url=address, key=key, folder=settings.folder / "first-light", report=report)
            console.print(f"{wish.model:18} {path}")
        console.print(invitation(address, key=None if settings.bootstrap_keys else key))
        report("serving")
        while True:
            time.sleep(ATTENTION_S)


def _check_weights(weights: str) -> None:
    if weights == TINY:
        return
    try:
        find_weights(weights)
    except UnusableWeights as error:
        raise SettingsInvalid(str(error)) from error


def _first_key(settings: Settings) -> str:
    keys = configured_keys(settings.bootstrap_keys, settings.folder)
    return next(iter(keys.values()))[0] if keys else ""


def invitation(address: str, *, key: str | None) -> str:
    """Say where the service is and how to ask for a picture.

    Args:
        address: where it listens.
        key: the demo tenant's key; a key of any other tenant is for nobody's eyes.
    """
    picture = Path(pictures.__file__).parent / "mug.png"
    hint = "" if key else ", with one of your keys in UXO_KEY"
    return (
        f"serving at         {address}\n"
        f"API key            {key or 'one of UXO_BOOTSTRAP_KEYS'}\n\n"
        f"Try it from another terminal{hint}:\n\n"
        f"{curl_command(base_url=address, key=key, picture=picture)}"
    )


app.add_typer(tenants.app, name="tenants")
app.add_typer(keys.app, name="keys")
app.add_typer(tasks.app, name="tasks")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(configs.app, name="config")
app.add_typer(weights.app, name="weights")
app.command()(queue)
app.command()(migrate)
app.command()(drain)


def main() -> None:
    """Run the command."""
    app()
