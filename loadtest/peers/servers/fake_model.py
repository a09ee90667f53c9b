"""The model that every server of the comparison runs: it sleeps as long as a device would work, and makes nothing.

Knows the standard library alone, since each server runs it in an environment of its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Seconds that a call takes whatever it holds, and for each item in it.
GROUP_S, ITEM_S = 0.020, 0.005
#: Items that share a call at most.
MAX_GROUP = 8
#: Seconds that a server may wait for a group to fill; 10 ms is what mosec and Ray Serve do by themselves.
WAIT_S = 0.01
#: The variable that says where the size of every call is noted, one to a line. It is no setting of ours.
LOG_VARIABLE = "FAKE_MODEL_LOG"

#: One device: of two threads with a group each, one waits.
_DEVICE = threading.Lock()
_LOG = os.environ.get(LOG_VARIABLE)  # noqa: TID251 -- a server of another project has no settings of ours

#: What a caller asks for: ``number``, ``shape`` and ``is_poisoned``.
Item = Mapping[str, Any]
#: What it is answered: its ``number``.
Answer = dict[str, Any]


class Poisoned(RuntimeError):
    """One of the items makes every call fail that it is in."""


def run_mixed(items: Sequence[Item]) -> list[Answer]:
    """Run items of any shapes, one call after another for each shape among them.

    Returns:
        An answer for each, in their order.

    Raises:
        Poisoned: when one of them is; the others' work is lost then.
    """
    for shape in dict.fromkeys(item["shape"] for item in items):
        alike = [item for item in items if item["shape"] == shape]
        run_alike(len(alike), is_poisoned=any(item["is_poisoned"] for item in alike))
    return [{"number": item["number"]} for item in items]


def run_alike(count: int, *, is_poisoned: bool) -> None:
    """Run one call with so many items of one shape.

    Raises:
        Poisoned: after the time that the call takes, as a device finds out.
    """
    with _DEVICE:
        time.sleep(GROUP_S + ITEM_S * count)
        if _LOG:
            with Path(_LOG).open("a", encoding="ascii") as log:
                log.write(f"{count}\n")
    if is_poisoned:
        raise Poisoned("there is poison in this group")
