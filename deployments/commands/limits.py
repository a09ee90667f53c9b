"""The options that say what a tenant may have: the same for a new tenant and for one that is changed.

--budget 12.5      gives the limit
--no-budget        lifts it
neither            the usual one for a new tenant, as it was for another
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any

import typer

from deployments.commands.words import read_dollars, read_length, read_size
from models.catalog import CATALOG

#: What a limit in whole numbers may be at most: more does not fit its column.
MAX_COUNT = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One thing that a tenant may have so much of."""

    #: The field of a tenant that holds it.
    field: str
    #: The option that gives it.
    given: str
    #: The option that lifts it; None for what every tenant has.
    lifted: str | None
    #: What the first takes.
    kind: Any
    #: What stands for that in the help.
    metavar: str = "NUMBER"
    #: Reads that, where its kind does not say how.
    parser: Callable[[str], Any] | None = None
    #: In words for the operator.
    words: str


LIMITS = (
    Limit(
        field="weight",
        given="--weight",
        lifted=None,
        kind=float,
        words="Share of the machines while others wait too; usually 1.",
    ),
    Limit(
        field="models",
        given="--model",
        lifted="--any-model",
        kind=list[str],
        metavar="NAME",
        words="A model it may use, usually any; repeat for more.",
    ),
    Limit(
        field="max_queued",
        given="--max-queued",
        lifted="--no-max-queued",
        kind=int,
        words="Tasks that may wait at once; usually 1000.",
    ),
    Limit(
        field="max_queued_units",
        given="--max-queued-units",
        lifted="--no-max-queued-units",
        kind=float,
        words="Work units that may wait at once.",
    ),
    Limit(
        field="max_running",
        given="--max-running",
        lifted="--no-max-running",
        kind=int,
        words="Tasks that may run at once; further ones wait.",
    ),
    Limit(
        field="requests_per_minute",
        given="--requests-per-minute",
        lifted="--no-requests-per-minute",
        kind=int,
        words="Submissions within any minute.",
    ),
    Limit(
        field="budget",
        given="--budget",
        lifted="--no-budget",
        kind=str,
        metavar="DOLLARS",
        parser=read_dollars,
        words="What it may spend in all.",
    ),
    Limit(
        field="openings",
        given="--open",
        lifted="--no-open",
        kind=list[str],
        metavar="NAME|RANGE",
        words="A private name or range its calls may reach, such as 10.20.0.0/16; repeat for more.",
    ),
    Limit(
        field="lifetime_s",
        given="--lifetime",
        lifted="--no-lifetime",
        kind=float,
        metavar="LENGTH",
        parser=read_length,
        words="How long its pictures are kept, such as 1h; usually as long as all.",
    ),
    Limit(
        field="max_kept",
        given="--max-kept",
        lifted="--no-max-kept",
        kind=str,
        metavar="SIZE",
        parser=read_size,
        words="Pictures it may keep for its requests to refer to, such as 500mb; usually 2gb.",
    ),
)


def takes_limits(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every limit; it gets as ``limits`` those that were said, None for a lifted one."""
    own = [one for one in inspect.signature(command, eval_str=True).parameters.values() if one.name != "limits"]
    options = [option for limit in LIMITS for option in _options(limit)]

    @wraps(command)
    def with_limits(**words: Any) -> None:
        command(**{one.name: words[one.name] for one in own}, limits=chosen(words))

    # Typer reads a command's options from its signature.
    with_limits.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]  # a plain attribute
    with_limits.__annotations__ = {}
    return with_limits


def chosen(words: Mapping[str, Any]) -> dict[str, Any]:
    """Read which limits were given and which lifted.

    Raises:
        typer.BadParameter: when one is both, or a model is not in the catalog.
    """
    limits: dict[str, Any] = {}
    for limit in LIMITS:
        given, is_lifted = words[limit.field], words.get(f"no_{limit.field}", False)
        is_given = given is not None and given != []
        if is_given and is_lifted:
            raise typer.BadParameter(f"{limit.given} and {limit.lifted} contradict each other")
        if is_given:
            limits[limit.field] = given
        elif is_lifted:
            limits[limit.field] = None
    if limits.get("openings"):
        limits["openings"] = frozenset(limits["openings"])
    if limits.get("models"):
        limits["models"] = _known(limits["models"])
    return limits


def _options(limit: Limit) -> list[inspect.Parameter]:
    low, high = (0, MAX_COUNT) if limit.kind is int else (None, None)
    given = typer.Option(
        limit.given, metavar=limit.metavar, parser=limit.parser, min=low, max=high, help=limit.words, show_default=False
    )
    options = [_parameter(limit.field, Annotated[limit.kind | None, given], default=None)]
    if limit.lifted is not None:
        lifted = typer.Option(limit.lifted, help="Lift that limit.", show_default=False)
        options.append(_parameter(f"no_{limit.field}", Annotated[bool, lifted], default=False))
    return options


def _parameter(name: str, annotation: Any, *, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _known(names: list[str]) -> frozenset[str]:
    unknown = sorted(set(names) - set(CATALOG))
    if unknown:
        raise typer.BadParameter(f"there is no model {unknown[0]!r}; there are: {', '.join(sorted(CATALOG))}")
    return frozenset(names)
