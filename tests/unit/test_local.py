"""What is checked before the service starts on this machine; Ray itself is for the acceptance tests."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from deployments.local import CannotStart, authority, check_port, read_config

#: What every Serve config has to say.
APPLICATIONS = "applications: [{name: uxo}]\n"


def has_ipv6() -> bool:
    """Tell whether this machine has an IPv6 loopback."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


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


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("192.0.2.1", "cannot listen on 192.0.2.1:8000 (Cannot assign requested address)"),
        ("2001:db8::1", "cannot listen on [2001:db8::1]:8000 (Cannot assign requested address)"),
        ("no-such-host.invalid", "cannot listen on no-such-host.invalid:8000 ("),
        ("[::1]", "cannot listen on [[::1]]:8000 ("),
        ("label" * 20, f"cannot listen on {'label' * 20}:8000 (no host has such a name)"),
    ],
)
def test_an_address_that_is_not_ours_is_refused(host: str, words: str) -> None:
    """An address of another machine, or of none, is refused with the variable to set."""
    with pytest.raises(CannotStart) as refusal:
        check_port(host, 8000)

    assert refusal.value.message.startswith(words)
    assert refusal.value.message.endswith("; choose an address of this machine with UXO_HOST")


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_port_is_looked_at_where_it_is_to_be_listened_on() -> None:
    """A port that is taken on the IPv6 loopback is refused there, and not on the IPv4 one."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]

        check_port("127.0.0.1", port)
        with pytest.raises(CannotStart, match=re.escape(f"cannot listen on [::1]:{port} (Address already in use)")):
            check_port("::1", port)

    check_port("::1", port)


@pytest.mark.parametrize(
    ("host", "written"), [("127.0.0.1", "127.0.0.1:80"), ("localhost", "localhost:80"), ("::1", "[::1]:80")]
)
def test_an_address_is_written_as_urls_have_it(host: str, written: str) -> None:
    """An IPv6 host stands in brackets, any other as it is."""
    assert authority(host, 80) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http_options:\n",
        "http_options: {host: 9.9.9.9, port: 1}\n",
        "http_options: {port: 1}\nproxy_location: HeadOnly\n",
    ],
)
def test_this_machines_address_wins(tmp_path: Path, text: str) -> None:
    """Host and port come from the settings, whatever the file says."""
    path = tmp_path / "serve.yaml"
    path.write_text(text + APPLICATIONS)

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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it holds no mapping"),
        (b"- a\n- b\n", "it holds no mapping"),
        (b"{a: [", "while parsing a flow node expected the node content"),
        (b"\xff\xfe\x00", "'utf-8' codec can't decode byte"),
        (b"proxy_location: HeadOnly\n", "applications: it names none"),
        (b"applications:\n", "applications: it names none"),
        (b"applications: []\n", "applications: it names none"),
        (APPLICATIONS.encode() + b"http_options: 8000\n", "http_options: it holds no mapping"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file that is empty, broken or something else is refused in one line of words, not with a stack of calls."""
    path = tmp_path / "serve_config.yaml"
    path.write_bytes(content)

    with pytest.raises(CannotStart) as refusal:
        read_config(path, host="h", port=1)

    assert refusal.value.message.startswith(f"{path} is no Serve config: {reason}")
    assert "\n" not in refusal.value.message
