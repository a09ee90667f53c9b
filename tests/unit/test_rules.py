"""Where outgoing calls may go: ports, addresses, what is denied, and what was opened on purpose."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from deployments.outbound.rules import NOT_A_WEB_PORT, NOT_PUBLIC, Rules, literal
from deployments.outbound.urls import read_url
from deployments.tenants.openings import OpeningInvalid, read_opening

PUBLIC, PRIVATE = "93.184.215.14", "10.20.0.9"
HIDDEN = ["::ffff:10.20.0.9", "64:ff9b::a14:9", "2002:a14:9::1", "2001::f5eb:fff6", "::a14:9", "fd00::5efe:a14:9"]


@pytest.mark.parametrize("port", [80, 443, 8443])
def test_the_web_is_open(port: int) -> None:
    """Everybody may call a public address at a port of the list."""
    assert Rules().admit(read_url(f"http://a.example:{port}/"), PUBLIC) == ""


@pytest.mark.parametrize(
    ("url", "ip", "words"),
    [
        ("http://a.example/", PRIVATE, NOT_PUBLIC),
        ("http://a.example:22/", PUBLIC, NOT_A_WEB_PORT),
        ("http://a.example:22/", PRIVATE, NOT_PUBLIC),
    ],
)
def test_the_rest_is_not(url: str, ip: str, words: str) -> None:
    """A private address is refused, and another port; only of the second is the port told."""
    assert Rules().admit(read_url(url), ip) is None
    assert Rules().refusal([PUBLIC, ip]) == words


def test_an_operator_chooses_the_ports() -> None:
    """A port that is added is open, and one that is left out is not."""
    rules = Rules(ports={8080})

    assert rules.admit(read_url("http://a.example:8080/"), PUBLIC) == ""
    assert rules.admit(read_url("http://a.example:80/"), PUBLIC) is None


@pytest.mark.parametrize("ip", [PRIVATE, "127.0.0.1", "169.254.169.254", "::1"])
def test_everything_can_be_opened_and_says_so(ip: str) -> None:
    """With private networks allowed every address and port is open, and the decision names what opened it."""
    rules = Rules(allows_private=True)

    assert rules.admit(read_url("http://a.example:9000/"), ip) == "UXO_ALLOW_PRIVATE_NETWORKS"
    assert rules.admit(read_url("http://a.example/"), PUBLIC) == ""


@pytest.mark.parametrize("ip", [PRIVATE, *HIDDEN])
def test_what_is_denied_stays_denied(ip: str) -> None:
    """An operator's own ranges are closed whatever else is open, however an address of them is written or hidden."""
    rules = Rules(allows_private=True, denied=(ip_network("10.20.0.0/16"),))

    assert rules.admit(read_url("http://a.example/"), ip) is None
    assert rules.admit(read_url("http://a.example/"), "10.21.0.9") is not None


def test_public_ranges_can_be_denied() -> None:
    """A range of the public internet is closed like any other."""
    rules = Rules(denied=(ip_network("93.184.0.0/16"),))

    assert rules.admit(read_url("http://a.example/"), PUBLIC) is None
    assert rules.refusal([PUBLIC]) == NOT_PUBLIC


@pytest.mark.parametrize(
    ("opening", "host", "ip", "is_open"),
    [
        ("img.corp.example", "img.corp.example", PRIVATE, True),
        ("IMG.corp.example", "img.corp.example", "fd12::1", True),
        ("img.corp.example", "img.corp.example", "::ffff:10.20.0.9", True),
        ("img.corp.example", "img.corp.example.", PRIVATE, True),
        ("img.corp.example", "img.corp.example", PUBLIC, True),
        ("img.corp.example", "img.corp.example", "127.0.0.1", False),
        ("img.corp.example", "img.corp.example", "169.254.169.254", False),
        ("img.corp.example", "img.corp.example", "10.99.0.1", False),
        ("img.corp.example", "evil.example", PRIVATE, False),
        ("img.corp.example", "a.img.corp.example", PRIVATE, False),
        ("*.corp.example", "a.b.corp.example", PRIVATE, True),
        ("*.corp.example", "corp.example", PRIVATE, False),
        ("*.corp.example", "evilcorp.example", PRIVATE, False),
        ("10.20.0.0/16", "a.example", PRIVATE, True),
        ("10.20.0.9", "10.20.0.9", PRIVATE, True),
        ("10.20.0.0/16", "a.example", "::ffff:10.20.0.9", True),
        ("10.20.0.0/16", "a.example", "2002:a14:9::1", False),
        ("10.20.0.0/16", "a.example", "10.21.0.9", False),
        ("127.0.0.0/8", "localhost", "127.0.0.1", True),
        ("10.99.0.0/24", "a.example", "10.99.0.1", True),
        ("fd12::/16", "a.example", "fd12::1", True),
    ],
)
def test_a_tenants_opening(opening: str, host: str, ip: str, *, is_open: bool) -> None:
    """A name opens private networks, a range just itself, both at any port; what is denied only by its range."""
    rules = Rules(denied=(ip_network("10.99.0.0/16"),))
    [opened] = [read_opening(opening)]

    admitted = rules.admit(read_url(f"http://{host}:9000/"), ip, [opened])

    assert admitted == (str(opened) if is_open else None)


@pytest.mark.parametrize(
    "text", ["", "*", "*.", "a..b", "-a.example", "a b", "http://a.example", "a.example:80", "10.20.0.1/16", "127.1",
             "1.2.3.4.5", "ex\u00e4mple.com", "a" * 64 + ".example", "a.*.example", "2130706433"],
)  # fmt: skip
def test_what_opens_nothing(text: str) -> None:
    """What is neither a name nor a range is refused when it is written down."""
    with pytest.raises(OpeningInvalid):
        read_opening(text)


@pytest.mark.parametrize(
    ("url", "ip"),
    [
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://[::FFFF:a00:1]/", "::ffff:a00:1"),
        ("http://LocalHost/", "127.0.0.1"),
        ("http://a.localhost./", "127.0.0.1"),
        ("http://a.example/", None),
        ("http://notlocalhost/", None),
    ],
)
def test_some_urls_name_their_address(url: str, ip: str | None) -> None:
    """An address in the place of the host needs no resolver, nor does the name of this machine."""
    assert literal(read_url(url)) == ip


@pytest.mark.parametrize(
    ("url", "openings", "words"),
    [
        ("http://a.example/", [], None),
        ("http://a.example:9000/", [], NOT_A_WEB_PORT),
        ("http://a.example:9000/", ["10.20.0.0/16"], None),
        ("http://93.184.215.14/", [], None),
        ("http://93.184.215.14:22/", [], NOT_A_WEB_PORT),
        ("http://10.20.0.9/", [], NOT_PUBLIC),
        ("http://10.20.0.9:9000/", ["10.20.0.0/16"], None),
        ("http://10.21.0.9/", ["10.20.0.0/16"], NOT_PUBLIC),
        ("http://localhost/", ["*.example"], NOT_PUBLIC),
        ("http://[::1]/", [], NOT_PUBLIC),
        ("http://[fd00:ec2::254]/", [], NOT_PUBLIC),
    ],
)
def test_what_a_url_shows_by_itself(url: str, openings: list[str], words: str | None) -> None:
    """Without a resolver, an address and a port can be judged; where a name leads is for later."""
    assert Rules().objection(read_url(url), [read_opening(text) for text in openings]) == words


def test_with_private_networks_allowed_there_is_no_objection() -> None:
    """Neither to an address nor to a port."""
    urls = ["http://127.0.0.1:9000/", "http://localhost/", "http://a.example:1/"]

    assert [Rules(allows_private=True).objection(read_url(url)) for url in urls] == [None, None, None]
