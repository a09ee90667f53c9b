"""Counters, gauges and histograms; with ``exposition`` the only code that knows the metrics library.

Every process writes to files of its own in a folder of its node, through mapped memory: what a dead process has counted
stays counted, and whoever answers for the node reads the files of all. Until ``write_to`` has said where that folder
is, values stay in this process, which is all that tests and commands need. A value that cannot be written is dropped:
no work fails for being measured. Knows no metric by its name.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import prometheus_client
import structlog
from prometheus_client import CollectorRegistry, values

log = structlog.get_logger()

#: Where the library reads its folder.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_making = threading.Lock()


@dataclass(slots=True)
class _Written:
    """What this process has of each instrument by now."""

    registry: CollectorRegistry
    by_name: dict[str, Any]
    #: Whether the log has it that a value was dropped.
    is_drop_told: bool = False


_written = _Written(registry=CollectorRegistry(), by_name={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """What is measured under one name."""

    #: As Prometheus knows it, with its unit at the end.
    name: str
    #: In words for an operator.
    help: str
    #: What its values are told apart by; each has few values, and none is a caller's text.
    labels: tuple[str, ...] = ()

    @contextmanager
    def _or_dropped(self) -> Iterator[None]:
        """Drop a value whose file cannot be made, and say so once: the folder is gone, or no handle is left."""
        try:
            yield
        except OSError as error:
            if not _written.is_drop_told:
                _written.is_drop_told = True
                log.warning("metrics_dropped", metric=self.name, reason=str(error))

    def _of(self, kind: type, labels: dict[str, str], **options: Any) -> Any:
        """Return the library's own thing, made when it is first needed: by then it is known where it writes."""
        made = _written.by_name.get(self.name)
        if made is None:
            with _making:
                made = _written.by_name.get(self.name)
                if made is None:
                    made = kind(self.name, self.help, self.labels, registry=_written.registry, **options)
                    _written.by_name[self.name] = made
        return made.labels(**labels) if self.labels else made


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter(Instrument):
    """How often something happened, or how much of it there was, since the node's first process started."""

    def add(self, amount: float = 1.0, **labels: str) -> None:
        """Count some more."""
        with self._or_dropped():
            self._of(prometheus_client.Counter, labels).inc(amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge(Instrument):
    """How much there is of something now; what dead processes said is left out."""

    #: What the node shows where several processes say something.
    merged: Literal["livesum", "livemax"]

    def set(self, value: float, **labels: str) -> None:
        """Say how much there is."""
        with self._or_dropped():
            self._of(prometheus_client.Gauge, labels, multiprocess_mode=self.merged).set(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram(Instrument):
    """How long something took, or how large it was."""

    #: Upper bounds, rising.
    buckets: tuple[float, ...]

    def observe(self, value: float, **labels: str) -> None:
        """Note one more."""
        with self._or_dropped():
            self._of(prometheus_client.Histogram, labels, buckets=self.buckets).observe(value)


def write_to(folder: Path) -> None:
    """Write from now on to files in this folder, which is there; what was noted before is forgotten."""
    os.environ[FOLDER_VARIABLE] = str(folder)  # noqa: TID251 -- the library has no other way to be told
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]  # the library says no types here
    _written.registry, _written.by_name = CollectorRegistry(), {}


def value_of(instrument: Instrument, suffix: str = "", **labels: str) -> float:
    """Return what this process has noted, for tests.

    Args:
        instrument: which one.
        suffix: which of a histogram's values: ``_count``, ``_sum``.
        labels: which of its values.
    """
    return _written.registry.get_sample_value(f"{instrument.name}{suffix}", labels) or 0.0
