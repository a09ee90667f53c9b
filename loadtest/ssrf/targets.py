"""Where calls must not lead, where they may, and the one public server of the small world."""

from __future__ import annotations

from loadtest.ssrf.spellings import DECOY

#: Where the one public server is, and its name.
ORIGIN, ORIGIN_NAME = "93.184.215.14", DECOY
#: What the spelt URLs lead to: this machine, private and shared networks, clouds' own machines, in both versions of IP.
TARGETS = ("127.0.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.100.100.200",  # noqa: S104 -- nothing is bound
           "168.63.129.16", "::1", "fd00:ec2::254", "fe80::1")  # fmt: skip
#: Addresses that may be dialled, and such that must not, from every special range and in every hiding place.
PUBLIC = (ORIGIN, "1.1.1.1", "8.8.8.8", "9.255.255.255", "100.63.255.255", "172.32.0.0", "192.167.255.255",
          "2001:4860:4860::8888", "2606:4700:4700::1111", "2a00:1450:4001::1", "64:ff9b::808:808")  # fmt: skip
NOT_PUBLIC = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255",  # noqa: S104 -- as above
    "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254", "169.254.170.2",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "::1", "::10.0.0.1", "::ffff:10.0.0.1", "::ffff:100.64.0.1",
    "::ffff:169.254.169.254", "::ffff:0:a00:1", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1",
    "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:a00:1::1",
    "2a00:1450::5efe:a00:1", "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254",
    "fe80::1", "fec0::1", "::",
)  # fmt: skip
