"""Where the orders of a run come from: a profile, from which they are drawn, or a trace, which holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from loadtest.openloop.due import orders_of
from loadtest.openloop.motif import REPEATS, varied
from loadtest.openloop.order import Order, hurried
from loadtest.openloop.profile import Profile, UnreadableProfile, read_profile
from loadtest.openloop.run import Load
from loadtest.openloop.speech import speech_of
from loadtest.traces.lines import UnreadableTrace, read_trace

#: How the name of a trace ends.
TRACE = ".jsonl"
#: Seconds after its due time at which an order of a trace is given up.
PATIENCE_S = 120.0


class UnreadableLoad(ValueError):
    """There is no profile or trace to run; the message says why in one line."""


def load_of(name: str, *, speed: float, target: str, keys: Sequence[str]) -> Load:
    """Return what a profile or a trace asks for.

    Args:
        name: a profile of ours, or a file: a trace if its name ends in ``.jsonl``, a profile otherwise.
        speed: how many times as fast orders come.
        target: start of every address.
        keys: keys of tenants.

    Raises:
        UnreadableLoad: when it cannot be read, or has no orders.
    """
    try:
        if name.endswith(TRACE):
            load = _trace_load(Path(name), speed=speed, target=target, keys=keys)
        else:
            load = profile_load(read_profile(name), speed=speed, target=target, keys=keys)
    except (UnreadableProfile, UnreadableTrace) as error:
        raise UnreadableLoad(str(error)) from error
    if not load.orders:
        raise UnreadableLoad(f"{name}: no orders; there is nothing to send")
    return load


def profile_load(profile: Profile, *, speed: float, target: str, keys: Sequence[str]) -> Load:
    """Return what a profile asks for."""
    # Of another rate it is another load, which is not to find what was encoded for this one.
    seed = f"motifs {profile.seed} {profile.arrivals}"
    orders = varied(askable(orders_of(profile)), repeats=profile.repeats, seed=seed)
    return Load(
        orders=hurried(orders, speed),
        target=target,
        keys=keys,
        poll_s=profile.poll_s,
        patience_s=profile.patience_s,
        webhooks_at=profile.webhooks_at,
        source=profile.model_dump(mode="json"),
        warm_up_s=profile.warm_up_s / speed,
    )


def askable(orders: Sequence[Order]) -> list[Order]:
    """Return orders as their dialects can ask for them, so that what is written of a load is what was sent."""
    return [speech_of(order.dialect).askable(order) for order in orders]


def _trace_load(path: Path, *, speed: float, target: str, keys: Sequence[str]) -> Load:
    orders = hurried(varied(askable(_trace(path)), repeats=REPEATS, seed=str(path)), speed)
    source = {"sha256": _digest(path)}
    return Load(orders=orders, target=target, keys=keys, poll_s=None, patience_s=PATIENCE_S, source=source)


def _trace(path: Path) -> list[Order]:
    try:
        with path.open(encoding="utf-8") as lines:
            return read_trace(lines)
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableTrace(f"{path} cannot be read: {error}") from error
    except UnreadableTrace as error:
        raise UnreadableTrace(f"{path}, {error}") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
