"""Which addresses are public: one from every special range and from both its edges, and every way to hide one."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.outbound.addresses import is_public, meanings

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "3ffe::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]

NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104 -- an address to refuse, not one to listen on
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.175.48.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::10.0.0.1",
    "::8.8.8.8",
    "::ffff:0:0",
    "::ffff:10.0.0.1",
    "::ffff:100.64.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:8.8.8.8",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:1ff:ffff::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "2002:808:808::1",
    "2620:4f:8000::1",
    "2a00:1450::5efe:10.0.0.1",
    "2a00:1450::200:5efe:8.8.8.8",
    "3fff::1",
    "3fff:fff:ffff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700:4700::1111%eth0",
    "fec0::1",
    "ff02::1",
    "",
    "localhost",
    "127.1",
    "0x7f000001",
    "2130706433",
    "8.8.8.8 ",
    "08.8.8.8",
    "8.8.8.8/32",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    """An address of the public internet passes."""
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_not_public(address: str) -> None:
    """A special, embedded or unreadable address does not pass."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["::a00:1", "::ffff:a00:1", "::ffff:0:a00:1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::1",
     "2001:0:a00:1::1", "2001:0:808:808:0:0:f5ff:fffe", "2a00:1450::5efe:a00:1", "fe80::200:5efe:a00:1"],
)  # fmt: skip
def test_every_way_to_hide_an_address_is_seen_through(address: str) -> None:
    """What a tunnel or a translator would unwrap is known, whichever it is."""
    assert IPv4Address("10.0.0.1") in meanings(address)
    assert not is_public(address)


def test_what_hides_nothing_means_itself() -> None:
    """An address that no translator knows stands for itself alone, and a text that is none for nothing."""
    assert [meanings(text) for text in ("10.0.0.1", "2a00:1450:4001::1", "localhost")] == [
        (IPv4Address("10.0.0.1"),),
        (IPv6Address("2a00:1450:4001::1"),),
        (),
    ]


@given(number=st.integers(0, 2**32 - 1))
def test_embedding_changes_nothing(number: int) -> None:
    """An IPv4 address gets the same verdict when it comes mapped or translated."""
    plain = str(IPv4Address(number))

    verdicts = {is_public(plain), is_public(f"::ffff:{plain}"), is_public(f"64:ff9b::{plain}")}

    assert len(verdicts) == 1
