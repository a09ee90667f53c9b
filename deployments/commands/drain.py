"""``uxo drain``: end the work of this machine's replicas before the machine is taken away."""

from __future__ import annotations

import asyncio
from pathlib import Path

from deployments.commands.words import output
from deployments.commands.work import one_line
from deployments.errors import UxoError
from deployments.settings import read_settings


class CannotDrain(UxoError):
    """The replicas of this machine cannot be told to end."""


def drain() -> None:
    """Have this machine's replicas claim nothing more, and wait until they hold nothing.

    They end what they have begun within the ``grace_s`` of the Serve config and hand back the rest, which counts as no
    attempt. Nothing starts them again but a new start of Ray. They are known by their UXO_FOLDER, user and TMPDIR.
    """
    from deployments.leaving import Node  # noqa: PLC0415 -- loads slowly

    with one_line():
        service = read_settings().folder.resolve()
        node = Node.of(service)
        try:
            node.leave()  # also where none has stayed yet: one that is still loading is to claim nothing
            if not node.is_known:
                raise CannotDrain(_unknown(service, node.folder))
            asyncio.run(node.until_left())
        except OSError as error:
            raise CannotDrain(f"cannot use {node.folder} ({error.strerror or error})") from error
    output.print(f"no replica of this machine with UXO_FOLDER={service} holds a task any more", soft_wrap=True)


def _unknown(service: Path, folder: Path) -> str:
    return (
        f"no replica has worked on this machine with UXO_FOLDER={service}, as this user and with this TMPDIR"
        f" (it would have left {folder}/lock); run this as replicas run"
    )
