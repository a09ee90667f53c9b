"""``uxo drain``: end the work of this machine's replicas before the machine is taken away."""

from __future__ import annotations

import asyncio

from deployments.commands.words import output
from deployments.commands.work import one_line
from deployments.errors import UxoError
from deployments.settings import read_settings


class CannotDrain(UxoError):
    """The replicas of this machine cannot be told to end."""


def drain() -> None:
    """Have this machine's replicas claim nothing more, and wait until they hold nothing.

    They end what they have begun within the ``grace_s`` of the Serve config and hand back the rest, which counts as no
    attempt. Nothing starts them again but a new start of Ray.
    """
    from deployments.leaving import Node  # noqa: PLC0415 -- loads slowly

    with one_line():
        node = Node.of(read_settings().folder)
        try:
            node.leave()
            asyncio.run(node.until_left())
        except OSError as error:
            raise CannotDrain(f"cannot use {node.folder} ({error.strerror or error})") from error
    output.print("no replica of this machine holds a task any more", soft_wrap=True)
