"""The uxo command: what it says of itself, and of what keeps it from starting."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deployments.cli import app, invitation

#: What the command reads; each test says what it needs besides a folder of its own.
CLEAN = {"UXO_PORT": None, "UXO_HOST": None, "UXO_BOOTSTRAP_KEYS": None, "UXO_WEIGHTS": None}


@pytest.fixture
def uxo(tmp_path: Path) -> Callable[..., Result]:
    """Return a caller of the command, in an environment of its own."""

    def call(*words: str, **variables: str) -> Result:
        return CliRunner().invoke(app, words, env=CLEAN | {"UXO_FOLDER": str(tmp_path / "var")} | variables)

    return call


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Return a port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_help_names_the_commands(uxo: Callable[..., Result]) -> None:
    """The command says what it does and what there is to say."""
    answer = uxo("--help")

    assert answer.exit_code == 0
    assert "Serve UNO and USO on your own machines." in answer.output
    assert "run" in answer.output


def test_help_of_run_names_its_options(uxo: Callable[..., Result]) -> None:
    """Each option of ``run`` is explained."""
    answer = uxo("run", "--help")

    assert answer.exit_code == 0
    assert "--config" in answer.output
    assert "--no-first-light" in answer.output


def test_no_word_is_a_call_for_help(uxo: Callable[..., Result]) -> None:
    """Called without a word, the command shows its help."""
    assert "Usage:" in uxo().output


def test_an_unknown_word_is_an_error(uxo: Callable[..., Result]) -> None:
    """A command that is not there is refused by its name."""
    answer = uxo("fly")

    assert answer.exit_code == 2
    assert "fly" in answer.output


def test_a_taken_port_is_one_clear_line(uxo: Callable[..., Result], taken_port: int) -> None:
    """What keeps the service from starting is said in one line, without a stack of calls."""
    answer = uxo("run", UXO_PORT=str(taken_port))

    assert answer.exit_code == 1
    assert f"uxo run: cannot listen on 127.0.0.1:{taken_port}" in answer.output
    assert "Traceback" not in answer.output


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("UXO_PORT", "eight"),
        ("UXO_WEIGHTS", "/srv/flux"),
        ("UXO_BOOTSTRAP_KEYS", "no-colon"),
        ("UXO_BOOTSTRAP_KEYS", "none"),
    ],
)
def test_a_bad_variable_is_one_clear_line(uxo: Callable[..., Result], variable: str, value: str) -> None:
    """A setting that cannot be used is named before anything is started."""
    answer = uxo("run", **{variable: value})

    assert answer.exit_code == 1
    assert f"uxo run: {variable}" in answer.output
    assert "Traceback" not in answer.output


def test_the_first_line_says_who_speaks(uxo: Callable[..., Result], taken_port: int) -> None:
    """Before anything else, the command says its version and how to stop it."""
    answer = uxo("run", UXO_PORT=str(taken_port))

    assert answer.output.startswith("uxo-serve 0.")
    assert answer.output.splitlines()[0].endswith("stop with Ctrl-C")


def test_an_unknown_host_is_one_clear_line(uxo: Callable[..., Result]) -> None:
    """A host that cannot be found is named, with the variable to set."""
    answer = uxo("run", UXO_HOST="no-such-host.invalid")

    assert answer.exit_code == 1
    assert "uxo run: cannot listen on no-such-host.invalid:8000 (" in answer.output
    assert "UXO_HOST" in answer.output
    assert "Traceback" not in answer.output


def test_brackets_in_a_message_stay(uxo: Callable[..., Result], tmp_path: Path) -> None:
    """What is printed is plain text; a name in brackets is no markup."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    config = tmp_path / "[red]" / "[/foo].yaml"

    answer = uxo("run", "--config", str(config), UXO_PORT=str(port))

    assert answer.exit_code == 1
    assert f"uxo run: cannot read {config} (" in answer.output


def test_a_grace_that_cuts_calls_off_is_one_clear_line(uxo: Callable[..., Result], tmp_path: Path) -> None:
    """The file's grace is held against the settings before Ray is started."""
    config = tmp_path / "config.yaml"
    config.write_text("applications: [{import_path: 'deployments.app:build', args: {grace_s: 60}}]", encoding="utf-8")

    answer = uxo("run", "--config", str(config), UXO_SYNC_WAIT_S="60")

    assert answer.exit_code == 1
    assert "uxo run: args.grace_s is 60, and calls are held for UXO_SYNC_WAIT_S=60 seconds" in answer.output
    assert "loading Ray" not in answer.output


def test_the_demo_key_is_shown_ready_to_paste() -> None:
    """The key that was made for a first look stands in the text and in the command."""
    text = invitation("http://127.0.0.1:8000", key="demo-0123456789abcdef")

    assert "API key            demo-0123456789abcdef\n" in text
    assert "-H 'Authorization: Bearer demo-0123456789abcdef'" in text


def test_a_tenants_key_is_not_shown() -> None:
    """A key that the operator has set is not repeated; the command says where to put one."""
    text = invitation("http://127.0.0.1:8000", key=None)

    assert "API key            one of UXO_BOOTSTRAP_KEYS\n" in text
    assert "with one of your keys in UXO_KEY" in text
    assert '-H "Authorization: Bearer $UXO_KEY"' in text


def test_the_installed_command_is_this_one() -> None:
    """The word ``uxo`` in a shell leads here."""
    answer = subprocess.run(
        [Path(sys.executable).with_name("uxo"), "--help"], capture_output=True, text=True, check=True
    )

    assert "Serve UNO and USO on your own machines." in answer.stdout
