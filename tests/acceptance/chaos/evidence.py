"""What a run left behind, from several independent hands, and what is said of one promise in the end."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from acceptance.chaos.books import Record, Row
from acceptance.chaos.journal import Entry
from acceptance.chaos.wishes import Wish

#: States that a task never leaves.
TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
#: The same in WaveSpeed's words.
IN_WORDS = {"succeeded": "completed", "failed": "failed", "cancelled": "cancelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found of one promise."""

    #: Its number in the list of invariants.
    code: str
    #: The promise.
    says: str
    #: How many things were looked at; None when nothing can be said yet.
    checked: int | None
    #: What was found against it.
    violations: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What was found by looking at tenants again and again while a run went on."""

    #: How many tenants were looked at.
    taken: int = 0
    #: Caps that did not hold.
    caps: Sequence[str] = ()
    #: Budgets that did not hold.
    budgets: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a gateway holds of the machine."""

    #: Its slot.
    name: str
    #: Open descriptors.
    descriptors: int
    #: Threads.
    threads: int
    #: Resident memory in MiB.
    memory_mib: int


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that is known of a run."""

    #: What was wished for.
    wishes: Sequence[Wish]
    #: The load client's ledger.
    ledger: Sequence[Entry]
    #: The replicas' and gateways' journals.
    journals: Sequence[Entry]
    #: What the receiver of webhooks got.
    mail: Sequence[Entry]
    #: The database's books.
    record: Record
    #: Where the pictures lie.
    outputs: Path
    #: How long a claim lasts without a beat, in seconds.
    lease_s: float
    #: Looks at the tenants.
    samples: Samples = Samples()
    #: Gateways when they had just started, and when all was over.
    footprints: tuple[Sequence[Footprint], Sequence[Footprint]] = ((), ())
    #: Whether the run was allowed to come to its end.
    is_complete: bool = True

    @cached_property
    def by_key(self) -> Mapping[tuple[str, str], Wish]:
        """Return every wish by tenant and key."""
        return {(wish.tenant, wish.key): wish for wish in self.wishes}

    @cached_property
    def tasks(self) -> Mapping[str, Row]:
        """Return every task in the books, by id."""
        return {row["id"]: row for row in self.record.tasks}

    @cached_property
    def wish_of(self) -> Mapping[str, Wish]:
        """Return the wish of every task that belongs to one, by the task's id."""
        found = {row["task_id"]: self.by_key.get((row["tenant_id"], row["key"])) for row in self.record.keys}
        return {task_id: wish for task_id, wish in found.items() if wish is not None}

    @cached_property
    def task_of(self) -> Mapping[tuple[str, str], str]:
        """Return the id of the task that a wish became, by tenant and key."""
        return {(row["tenant_id"], row["key"]): row["task_id"] for row in self.record.keys}

    @cached_property
    def receipts(self) -> Mapping[tuple[str, str], Sequence[Entry]]:
        """Return what was received for every wish for which something was, by tenant and key."""
        receipts: dict[tuple[str, str], list[Entry]] = defaultdict(list)
        for entry in self.mail:
            receipts[entry["tenant"], entry["key"]].append(entry)
        return receipts

    @cached_property
    def moves(self) -> Mapping[str, Sequence[Row]]:
        """Return the history of every task, by id."""
        moves: dict[str, list[Row]] = defaultdict(list)
        for row in self.record.history:
            moves[row["task_id"]].append(row)
        return moves

    def of(self, *events: str) -> list[Entry]:
        """Return the ledger's entries of some kinds."""
        return [entry for entry in self.ledger if entry["event"] in events]

    def witnessed(self, event: str) -> list[Entry]:
        """Return the journals' entries of a kind."""
        return [entry for entry in self.journals if entry["event"] == event]

    @cached_property
    def accepted(self) -> Mapping[tuple[str, str], frozenset[str]]:
        """Return the ids that were answered with 2xx, by tenant and key; a wish has one, if all is well."""
        ids: dict[tuple[str, str], set[str]] = defaultdict(set)
        for entry in self.of("answered"):
            if entry["status"] == 200:
                ids[entry["tenant"], entry["key"]].add(entry["id"])
        return {key: frozenset(found) for key, found in ids.items()}


def outputs_of(task: Row) -> list[Row]:
    """Read the pictures of a task."""
    outputs: list[Row] = json.loads(task["outputs"])
    return outputs
