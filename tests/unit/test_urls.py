"""Which URLs are read, how, and which spellings are refused because readers disagree about them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.outbound.urls import UnreadableUrl, WebAddress, read_url


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "target"),
    [
        ("http://example.com", "http", "example.com", 80, "/"),
        ("HTTPS://Example.COM/A.png", "https", "example.com", 443, "/A.png"),
        ("http://example.com:8080/a?b=c%2Fd&e=/f?g", "http", "example.com", 8080, "/a?b=c%2Fd&e=/f?g"),
        ("http://example.com?x=1#part", "http", "example.com", 80, "/?x=1"),
        ("http://example.com/#@evil.example/", "http", "example.com", 80, "/"),
        ("http://example.com/a//b/../c;d", "http", "example.com", 80, "/a//b/../c;d"),
        ("http://example.com/größe.png?ü", "http", "example.com", 80, "/gr%C3%B6%C3%9Fe.png?%C3%BC"),
        ("http://example.com/@user", "http", "example.com", 80, "/@user"),
        ("http://127.0.0.1:1", "http", "127.0.0.1", 1, "/"),
        ("http://1.example/", "http", "1.example", 80, "/"),
        ("http://0x.example.0x1g/", "http", "0x.example.0x1g", 80, "/"),
        ("http://[2001:DB8:0::1]:65535/", "http", "2001:db8::1", 65535, "/"),
        ("https://under_score.example./", "https", "under_score.example.", 443, "/"),
    ],
)
def test_plain_url(text: str, scheme: str, host: str, port: int, target: str) -> None:
    """Scheme and host come in lower case, the rest as written."""
    address = read_url(text)

    assert address == WebAddress(scheme=scheme, host=host, port=port, target=target)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "//example.com/",
        "http:/example.com/",
        "http:///path",
        "http://",
        "http://:80/",
        "http://?x",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "http\u017f://example.com/",
        "data:image/png;base64,AAAA",
        "http://user@example.com/",
        "http://user:word@example.com/",
        "http://@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com/a\\b",
        "http:\\\\example.com/",
        " http://example.com/",
        "http://example.com/ ",
        "http://exam\tple.com/",
        "http://example.com/a\r\nHost: evil",
        "http://example.com/\x00",
        "http://example.com/\x7f",
        "http://example.com/\u00a0",
        "http://example.com/\u2028",
        "http://example.com/\ud800",
        "http://exämple.com/",
        "http://①②⑦.⓪.⓪.①/",
        "http://example。com/",
        "http://\u017f.example/",
        "http://127.0.0.1%2F@example.com/",
        "http://%31%32%37.0.0.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0X7F.1/",
        "http://0x/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://127.000.000.001/",
        "http://127.0.0.256/",
        "http://1.2.3.4.5/",
        "http://0/",
        "http://./",
        "http://example.com../",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::1/",
        "http://::1/",
        "http://[127.0.0.1]/",
        "http://[::g]/",
        "http://[:::]/",
        "http://[::1]extra/",
        "http://example.com:/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:-1/",
        "http://example.com:8o/",
        "http://example.com:080000/",
        "http://example.com:٨٠/",
        "http://" + "a" * 254 + "/",
    ],
)
def test_other_spelling_is_refused(text: str) -> None:
    """Other schemes and whatever two readers could understand differently are refused."""
    with pytest.raises(UnreadableUrl):
        read_url(text)


@pytest.mark.parametrize(
    ("text", "authority"),
    [
        ("http://example.com:80/", "example.com"),
        ("https://example.com:443/", "example.com"),
        ("https://example.com:80/", "example.com:80"),
        ("http://[::1]/", "[::1]"),
        ("http://[::1]:8080/", "[::1]:8080"),
    ],
)
def test_authority(text: str, authority: str) -> None:
    """The Host header leaves out the scheme's own port and keeps the brackets."""
    assert read_url(text).authority == authority


@given(text=st.text() | st.text("htps:/.@\\[]#?%1a \t").map(lambda tail: f"http://{tail}"))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text raises anything but UnreadableUrl, and what was read reads the same when it is written out."""
    try:
        address = read_url(text)
    except UnreadableUrl:
        return

    assert read_url(str(address)) == address
    assert str(address).isascii()
