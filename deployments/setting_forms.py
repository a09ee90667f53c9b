"""How settings that hold more than a word are written: checks that say what to write instead, and what the text has."""

from __future__ import annotations

import re
from ipaddress import ip_network

from models.catalog import CATALOG, MAX_SIDE, MIN_SIDE, Size
from models.cost import find_costs

#: What a host of fal's can be for.
FAL_ROLES = ("run", "queue", "rest", "cdn")
#: A host name as it stands in a Host header, without its port.
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
#: The origin of a page, as browsers write it, or a word for all of them.
ORIGIN = re.compile(r"\*|https?://[A-Za-z0-9._\-\[\]:]+")


def check_aliases(text: str) -> str:
    """Return the text of aliases as it is.

    Raises:
        ValueError: when it is not ``name=model,name=model``, or names a model that there is not.
    """
    for name, model in pairs_of(text):
        if not name or model not in CATALOG:
            raise ValueError(f"write name=model, with a model of {', '.join(CATALOG)}")
    return text


def check_hosts(text: str) -> str:
    """Return the text of hosts as it is.

    Raises:
        ValueError: when it is not ``host=role,host=role``, or names a role that there is not.
    """
    for host, role in pairs_of(text):
        if not HOST.fullmatch(host) or role not in FAL_ROLES:
            raise ValueError(f"write host=role, a host without a port and a role of {', '.join(FAL_ROLES)}")
    return text


def pairs_of(text: str) -> list[tuple[str, str]]:
    """Return what stands on both sides of each ``=`` in a list with commas, without blanks around it."""
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def entries_of(text: str) -> list[str]:
    """Return what stands in a list with commas, without the blanks around it and what is blank itself."""
    return [entry for each in text.split(",") if (entry := each.strip())]


def check_networks(text: str) -> str:
    """Return the text of address ranges as it is.

    Raises:
        ValueError: when it is not ``10.42.0.0/16,fd00::/8``.
    """
    for each in entries_of(text):
        ip_network(each)
    return text


def check_ports(text: str) -> str:
    """Return the text of TCP ports as it is.

    Raises:
        ValueError: when it is not ``80,443``.
    """
    for each in text.split(","):
        if not each.strip().isdecimal() or not 1 <= int(each) <= 65535:
            raise ValueError("write ports between 1 and 65535, separated by commas")
    return text


def check_sizes(text: str) -> str:
    """Return the text of sizes as it is.

    Raises:
        ValueError: when it is not ``1024x768,512x512``, or no such picture may be asked for.
    """
    if not all(MIN_SIDE <= side <= MAX_SIDE for size in sizes_of(text) for side in size):
        raise ValueError(f"sides are between {MIN_SIDE} and {MAX_SIDE} pixels")
    return text


def sizes_of(text: str) -> tuple[Size, ...]:
    """Return the sizes in a list with commas, width before height, in pixels.

    Raises:
        ValueError: when it is not ``1024x768,512x512``.
    """
    pairs = [entry.split("x") for entry in entries_of(text)]
    if not all(len(pair) == 2 and all(side.isdecimal() for side in pair) for pair in pairs):
        raise ValueError("write sizes as 1024x768, separated by commas")
    return tuple((int(width), int(height)) for width, height in pairs)


def check_origins(text: str) -> str:
    """Return the text of origins as it is.

    Raises:
        ValueError: when one is neither ``*`` nor a scheme and a host.
    """
    for origin in entries_of(text):
        if not ORIGIN.fullmatch(origin):
            raise ValueError("write https://shop.example,https://admin.example:8443 or *, without a path")
    return text


def check_labels(text: str) -> str:
    """Return the text of a classifier's labels as it is.

    Raises:
        ValueError: when it names none.
    """
    if not entries_of(text):
        raise ValueError("write at least one label, separated by commas")
    return text


def check_costs(text: str) -> str:
    """Return the text that names a cost table as it is.

    Raises:
        ValueError: when there is no such table, or it cannot be read.
    """
    find_costs(text)
    return text
