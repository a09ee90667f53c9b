"""``uxo migrate``: bring a database's tables to what this version needs."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.commands.words import AsJson, output, print_json
from deployments.commands.work import move_tables

#: What there is before the first revision, for people to read.
NOTHING = "nothing"


def migrate(
    *,
    post: Annotated[bool, typer.Option("--post", help="Take away too what only older versions use.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database up to date; killed half-way, it can simply be run again."""
    moved = move_tables(post=post)
    if as_json:
        print_json({"from": moved.before, "to": moved.after})
        return
    if moved.before == moved.after:
        output.print(f"the database is at {moved.after} already")
        return
    output.print(f"moved the database from {moved.before or NOTHING} to {moved.after}")
