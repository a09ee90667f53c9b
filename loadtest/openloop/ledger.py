"""The reckoning after a load: every accepted task has one end and its pictures, none is lost or doubled. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass

from loadtest.openloop.record import End, Record
from loadtest.openloop.speech import Seen, State

#: What a second look may find after each end. What was taken back may be gone or not, as its provider has it.
_AGAIN: Mapping[End, AbstractSet[State]] = {
    End.SUCCEEDED: {State.SUCCEEDED},
    End.FAILED: {State.FAILED},
    End.CANCELLED: {State.CANCELLED, State.GONE},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What the reckoning found; tasks are named by their ids."""

    #: Orders that were accepted.
    accepted: int
    #: Those with an end.
    ended: int
    #: Tasks that the server forgot.
    lost: Sequence[str]
    #: Tasks that two orders were given.
    doubled: Sequence[str]
    #: Tasks that had another end when they were read again, or were told of with two ends.
    changed: Sequence[str]
    #: Tasks that succeeded with fewer pictures than were asked for.
    incomplete: Sequence[str]
    #: Tasks without an end when patience was at an end.
    unfinished: Sequence[str]
    #: Ended tasks whose second reading was not answered, so that nobody knows whether they are lost.
    unchecked: Sequence[str]
    #: Tasks that were under way when the load was stopped.
    in_flight: int
    #: Orders whose submission was not answered; the server may know of them or not.
    unanswered: int

    @property
    def is_sound(self) -> bool:
        """Whether every promise was seen to be kept; what was stopped breaks none."""
        return not (self.is_broken or self.unchecked)

    @property
    def is_broken(self) -> bool:
        """Whether a promise was seen to be broken."""
        return bool(self.breaches or self.unfinished)

    @property
    def breaches(self) -> Sequence[str]:
        """What no waiting mends: tasks that are lost, or were answered otherwise than was promised."""
        return [*self.lost, *self.doubled, *self.changed, *self.incomplete]

    def __str__(self) -> str:
        """Say it in a line."""
        if self.is_sound:
            unknown = f", {self.unanswered} unanswered" if self.unanswered else ""
            return f"sound: {self.accepted} accepted, {self.ended} ended once, {self.in_flight} in flight{unknown}"
        found = {name: len(each) for name, each in asdict(self).items() if isinstance(each, Sequence) and each}
        verdict = "broken" if self.is_broken else "unproven"
        return f"{verdict}: {self.accepted} accepted, " + ", ".join(f"{count} {name}" for name, count in found.items())


def reckon(
    records: Sequence[Record], *, again: Mapping[str, Seen | None], told: Mapping[str, AbstractSet[str]] | None = None
) -> Ledger:
    """Compare what became of every accepted order with what the server says of it afterwards.

    Args:
        records: what became of every order.
        again: what a second reading said of each accepted task, by id; None where it was not answered.
        told: which ends webhooks told of each task.
    """
    accepted = [record for record in records if record.task_id]
    ids = Counter(record.task_id for record in accepted)
    two_ends = {task_id for task_id, ends in (told or {}).items() if len(ends) > 1}
    return Ledger(
        accepted=len(accepted),
        ended=sum(record.end in _AGAIN for record in accepted),
        lost=[record.task_id for record in accepted if _is_lost(record, again.get(record.task_id))],
        doubled=[task_id for task_id, count in ids.items() if count > 1],
        changed=sorted(
            two_ends | {record.task_id for record in accepted if _is_changed(record, again.get(record.task_id))}
        ),
        incomplete=[record.task_id for record in accepted if _is_incomplete(record, again.get(record.task_id))],
        unfinished=[record.task_id for record in accepted if record.end is End.UNFINISHED],
        unchecked=[record.task_id for record in accepted if record.end in _AGAIN and again.get(record.task_id) is None],
        in_flight=sum(record.end is End.IN_FLIGHT for record in records),
        unanswered=sum(record.end is End.UNANSWERED for record in records),
    )


def _is_lost(record: Record, seen: Seen | None) -> bool:
    is_gone = seen is not None and seen.state is State.GONE
    return record.end is End.LOST or (is_gone and record.end is not End.CANCELLED)


def _is_changed(record: Record, seen: Seen | None) -> bool:
    if record.end not in _AGAIN or seen is None or seen.state is State.GONE:
        return False
    return seen.state not in _AGAIN[record.end]


def _is_incomplete(record: Record, seen: Seen | None) -> bool:
    # What was seen first counts: a server may forget links when their time is over.
    again = seen.pictures if seen is not None else None
    pictures = again if record.pictures is None else record.pictures
    return record.end is End.SUCCEEDED and pictures is not None and pictures < record.order.images
