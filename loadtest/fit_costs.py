"""Fit a cost table to measured rows: ``python -m loadtest.fit_costs ROWS --output models/costs/NAME.json``.

Least squares of relative errors, so that small steps count as much as large ones. A figure that would come out
negative is taken for 0 and the others are fitted again: a table never says that more work takes less time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
)

from loadtest.exits import UNUSABLE
from loadtest.findings import write_findings
from loadtest.place import NoPlace, check_file
from models.cost import FORM, UnreadableCosts, read_costs

#: Rows of one kind.
Rows = Sequence[Mapping[str, float]]


class UnreadableRows(ValueError):
    """The file has no rows that a table can be fitted to; the message says why in one line."""


class _Strict(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)


class _Row(_Strict):
    ms: NonNegativeFloat


class _Step(_Strict):
    tokens: PositiveInt
    samples: PositiveInt
    ms: PositiveFloat


class _Decode(_Row):
    pixels: PositiveInt


class _Reference(_Row):
    tokens: PositiveInt


class _Measured(_Strict):
    """What is wanted of the file."""

    device: str
    source: str
    steps: list[_Step]
    decodes: list[_Decode]
    texts: list[_Row]
    references: list[_Reference]
    styles: list[_Row]

    @field_validator("steps")
    @classmethod
    def _have_steps(cls, steps: list[_Step]) -> list[_Step]:
        # Of the other kinds nothing may have been measured; without a step there is no table.
        if not steps:
            raise ValueError("none was measured, as in a run that had to leave out 'ours, exact'; measure again")
        return steps


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def fit_costs(
    rows: Annotated[Path, typer.Argument(help="JSON with steps, decodes, texts, references and styles.")],
    *,
    output: Annotated[Path, typer.Option(help="Where the table goes.")] = Path("var/bench/costs.json"),
) -> None:
    """Write the table and say how far it is from its rows; exit with 2 where there is none to be had of them."""
    try:
        check_file(output)
        measured = read_rows(rows)
        table = table_of(measured)
        costs = read_costs(json.dumps(table))
    except (NoPlace, UnreadableCosts, UnreadableRows) as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(UNUSABLE)
    off = [costs.step(int(row["tokens"]), rows=int(row["samples"])) / row["ms"] - 1 for row in measured["steps"]]
    write_findings(output, table)
    sys.stdout.write(f"{len(off)} steps; the table is off by {min(off):+.1%} to {max(off):+.1%}\n")


def read_rows(path: Path) -> dict[str, Any]:
    """Read what ``loadtest.gpu`` measured.

    Raises:
        UnreadableRows: when there is no such file, a row lacks something, or no step was measured.
    """
    try:
        return _Measured.model_validate_json(path.read_bytes()).model_dump()
    except OSError as error:
        raise UnreadableRows(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in error.errors())
        raise UnreadableRows(f"{path}: no rows that loadtest.gpu wrote whole: {wrong}") from error


def table_of(measured: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fit every figure of a table to its rows; a kind of which nothing was measured costs nothing."""
    costs = {
        **_step_costs(measured["steps"]),
        "decode_ms": _rate(measured["decodes"], per="pixels", size=1024**2),
        "text_ms": _rate(measured["texts"]),
        "reference_ms": _rate(measured["references"], per="tokens", size=1e3),
        "style_ms": _rate(measured["styles"]),
    }
    rounded = {name: round(value, 4) for name, value in costs.items()}
    return {"form": FORM, "device": measured["device"], "source": measured["source"], "costs": rounded}


def _step_costs(steps: Rows) -> Mapping[str, float]:
    samples = np.array([row["samples"] for row in steps], dtype=np.float64)
    tokens = np.array([row["tokens"] for row in steps], dtype=np.float64)
    # Where all groups are of one size, nothing tells what a row takes from what a call does: all of it is the call's.
    rows = samples if len(set(samples.tolist())) > 1 else np.zeros_like(samples)
    terms = np.stack([np.ones_like(samples), rows, samples * tokens / 1e3, samples * tokens**2 / 1e6], axis=1)
    ms = np.array([row["ms"] for row in steps], dtype=np.float64)
    figures = _fit_from_zero(terms / ms[:, None])
    return dict(zip(("step_ms", "row_ms", "kilotoken_ms", "megapair_ms"), figures, strict=True))


def _fit_from_zero(terms: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[float]:
    """Find figures of at least 0 whose sum over the terms is as near to 1 as can be."""
    used = list(range(terms.shape[1]))
    while True:
        found, *_ = np.linalg.lstsq(terms[:, used], np.ones(len(terms)), rcond=None)
        if (found >= 0).all():
            figures = dict(zip(used, found.tolist(), strict=True))
            return [figures.get(term, 0.0) for term in range(terms.shape[1])]
        used.pop(int(found.argmin()))


def _rate(rows: Rows, *, per: str | None = None, size: float = 1.0) -> float:
    """Return milliseconds per ``size`` of what is measured by ``per``, or per row where nothing is."""
    amount = sum(row[per] if per else size for row in rows)
    return sum(row["ms"] for row in rows) * size / amount if amount else 0.0


if __name__ == "__main__":
    app()
