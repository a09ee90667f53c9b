"""The ``uxo`` command: a thin layer of words over what the other files do."""

from __future__ import annotations

import signal
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deployments import pictures
from deployments.errors import UxoError
from deployments.first_light import curl_line, first_wishes, take
from deployments.settings import Settings, read_settings
from deployments.tenants.keys import configured_keys
from deployments.terminal import foreground, interruptible, progress

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Serve UNO and USO on your own machines.",
)
console = Console(highlight=False, soft_wrap=True)


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
    console.print(f"uxo-serve {version('uxo-serve')}, stop with Ctrl-C")
    try:
        with foreground(), interruptible(), progress(console) as report:
            _serve(read_settings(), config, report=report, first_light=first_light)
    except KeyboardInterrupt:
        console.print("stopped, nothing is left running")
    except UxoError as error:
        console.print(f"uxo run: {error.message}", style="red")
        raise typer.Exit(1) from error


def _serve(settings: Settings, config: Path, *, report: Callable[[str], None], first_light: bool) -> None:
    from deployments.local import running  # noqa: PLC0415 -- loads slowly; the first line is out by now

    address = f"http://{settings.host}:{settings.port}"
    key = _first_key(settings)
    with running(config, host=settings.host, port=settings.port, report=report):
        for wish in first_wishes() if first_light else []:
            path = take(wish, base_url=address, key=key, folder=settings.folder / "first-light", report=report)
            console.print(f"{wish.model:18} {path}")
        picture = Path(pictures.__file__).parent / "mug.png"
        console.print(f"serving at         {address}\nAPI key            {key}\n\nTry it from another terminal:\n")
        console.print(curl_line(base_url=address, key=key, picture=picture))
        report("serving")
        while True:
            signal.pause()


def _first_key(settings: Settings) -> str:
    keys = configured_keys(settings.bootstrap_keys, settings.folder)
    return next(iter(keys.values()))[0]


def main() -> None:
    """Run the command."""
    app()
