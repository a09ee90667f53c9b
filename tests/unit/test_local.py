"""What is checked before the service starts on this machine; Ray itself is for the acceptance tests."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from deployments.local import CannotStart, check_port, read_config


def test_a_free_port_will_do() -> None:
    """A port that nothing listens on passes, and is free afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    check_port("127.0.0.1", port)

    socket.create_server(("127.0.0.1", port)).close()


def test_a_taken_port_names_the_way_out() -> None:
    """A port in use is refused with the address, the reason and the variable to set."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        with pytest.raises(CannotStart) as refusal:
            check_port("127.0.0.1", port)

    assert refusal.value.message == (
        f"cannot listen on 127.0.0.1:{port} (Address already in use); choose another port with UXO_PORT"
    )


def test_an_address_that_is_not_ours_is_refused() -> None:
    """An address of another machine cannot be listened on."""
    with pytest.raises(CannotStart, match=r"cannot listen on 192\.0\.2\.1:8000"):
        check_port("192.0.2.1", 8000)


@pytest.mark.parametrize(
    "text",
    ["applications: []", "http_options: {host: 9.9.9.9, port: 1}", "http_options: {port: 1}\nproxy_location: HeadOnly"],
)
def test_this_machines_address_wins(tmp_path: Path, text: str) -> None:
    """Host and port come from the settings, whatever the file says."""
    path = tmp_path / "serve.yaml"
    path.write_text(text)

    config = read_config(path, host="127.0.0.1", port=8123)

    assert config["http_options"] == {"host": "127.0.0.1", "port": 8123}


def test_the_rest_of_the_file_is_kept(tmp_path: Path) -> None:
    """Every other field, and every other HTTP option, is handed on as it stands."""
    path = tmp_path / "serve.yaml"
    path.write_text("http_options: {request_timeout_s: 9}\napplications: [{name: uxo}]\n")

    config = read_config(path, host="h", port=1)

    assert config == {
        "http_options": {"request_timeout_s": 9, "host": "h", "port": 1},
        "applications": [{"name": "uxo"}],
    }


def test_a_missing_file_names_the_way_out(tmp_path: Path) -> None:
    """A config file that is not there is refused with its path, the reason and where to stand."""
    path = tmp_path / "serve_config.yaml"

    with pytest.raises(CannotStart) as refusal:
        read_config(path, host="h", port=1)

    assert (
        refusal.value.message
        == f"cannot read {path} (No such file or directory); run this where serve_config.yaml lies"
    )


@pytest.mark.parametrize("content", [b"", b"- a\n- b\n", b"{a: [", b"\xff\xfe\x00"])
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is empty, broken or something else is refused in words, not with a stack of calls."""
    path = tmp_path / "serve_config.yaml"
    path.write_bytes(content)

    with pytest.raises(CannotStart, match=re.escape(str(path))):
        read_config(path, host="h", port=1)
