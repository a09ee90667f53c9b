"""Checks of what became of tasks: their states, their pictures, their owners, their cancels and their attempts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from acceptance.chaos.books import Row
from acceptance.chaos.evidence import IN_WORDS, TERMINAL, Evidence, Verdict, outputs_of
from acceptance.chaos.wishes import Kind

#: What may follow what.
_MOVES = frozenset(
    {
        (None, "queued"),
        ("queued", "running"),
        ("queued", "cancelled"),
        ("running", "queued"),
        ("running", "succeeded"),
        ("running", "failed"),
        ("running", "cancelled"),
    }
)
#: Attempts that a task has at most.
MAX_ATTEMPTS = 3
#: By how much the database's clock may differ between two statements of one transaction, in seconds.
_SLACK_S = 0.05


def states(evidence: Evidence) -> Verdict:
    """I2: every move is one that may be made, and what a caller was told in the end is how it stayed."""
    moved = [
        f"{row['task_id']} went from {row['old_state']} to {row['new_state']}"
        for row in evidence.record.history
        if (row["old_state"], row["new_state"]) not in _MOVES
    ]
    broken = [
        f"{task_id} was {before['new_state']} and then {after['old_state']}"
        for task_id, moves in evidence.moves.items()
        for before, after in pairwise(moves)
        if before["new_state"] != after["old_state"]
    ]
    told = [
        f"{entry['id']} was told {entry['state']} and is {evidence.tasks[entry['id']]['state']}"
        for entry in evidence.of("seen")
        if entry["state"] in IN_WORDS.values() and entry["id"] in evidence.tasks
        if IN_WORDS.get(evidence.tasks[entry["id"]]["state"]) != entry["state"]
    ]
    checked = len(evidence.record.history)
    return Verdict(code="I2", says="one end, never changed", checked=checked, violations=moved + broken + told)


def pictures(evidence: Evidence) -> Verdict:
    """I3: a success has every picture once, on disk and as fetched, byte for byte as an undisturbed run makes it."""
    succeeded = [row for row in evidence.record.tasks if row["state"] == "succeeded" and row["id"] in evidence.wish_of]
    found = [problem for row in succeeded for problem in _picture_problems(evidence, row)]
    names = Counter(output["value"] for row in succeeded for output in outputs_of(row))
    shared = [f"{name} belongs to several pictures" for name, times in names.items() if times > 1]
    fetched = [
        f"picture {entry['index']} of {entry['id']} was fetched with status {entry['status']} and other bytes"
        for entry in evidence.of("fetched")
        if entry["id"] in evidence.wish_of
        if entry["status"] != 200 or entry["sha256"] != evidence.wish_of[entry["id"]].expected()[entry["index"]]
    ]
    checked = names.total() + len(evidence.of("fetched"))
    return Verdict(
        code="I3", says="every picture once, byte for byte", checked=checked, violations=found + shared + fetched
    )


def _picture_problems(evidence: Evidence, task: Row) -> Iterator[str]:
    expected, outputs = evidence.wish_of[task["id"]].expected(), outputs_of(task)
    if len(outputs) != len(expected):
        yield f"{task['id']} has {len(outputs)} of {len(expected)} pictures"
    for output, sha256 in zip(outputs, expected, strict=False):
        path = evidence.outputs / output["value"]
        on_disk = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"
        if {on_disk, output["sha256"]} != {sha256}:
            yield f"{output['value']} is not the picture that was asked for"
        if not output["value"].startswith(f"{task['id']}-{task['attempt']}-"):
            yield f"{output['value']} was made by another attempt than number {task['attempt']}"


def fences(evidence: Evidence) -> Verdict:
    """I7: only the last claim's owner ended a task, every claim has its own fence, and no lease was taken early."""
    ends = [entry for entry in evidence.witnessed("ended") if entry["accepted"]]
    late = [
        f"{entry['task']} was ended under fence {entry['fence']} and has {evidence.tasks[entry['task']]['fence']}"
        for entry in ends
        if entry["task"] in evidence.tasks and entry["fence"] != evidence.tasks[entry["task"]]["fence"]
    ]
    twice = [f"{task} was ended {times} times" for task, times in Counter(e["task"] for e in ends).items() if times > 1]
    claims = Counter((entry["task"], entry["fence"]) for entry in evidence.witnessed("claimed"))
    shared = [f"{task} was claimed twice under fence {fence}" for (task, fence), times in claims.items() if times > 1]
    leases = [problem for row in evidence.record.history if (problem := _lease_problem(row, evidence.lease_s))]
    return Verdict(
        code="I7",
        says="whoever lost the lease writes nothing",
        checked=len(ends) + len(evidence.record.history),
        violations=late + twice + shared + leases,
    )


def _lease_problem(row: Row, lease_s: float) -> str | None:
    if row["new_state"] == "running" and row["new_lease"] > row["at"] + lease_s + _SLACK_S:
        return f"{row['task_id']} was leased for {row['new_lease'] - row['at']:.1f} s"
    if was_rescued(row) and row["old_lease"] > row["at"] + _SLACK_S:
        return f"{row['task_id']} was taken {row['old_lease'] - row['at']:.1f} s before its lease ended"
    return None


def was_rescued(row: Row) -> bool:
    """Tell whether a move took a task from an owner whose lease had ended, or should have."""
    if row["old_state"] != "running":
        return False
    # Who hands back gives the attempt back too; who is rescued has used it up.
    is_requeued = row["new_state"] == "queued" and row["new_attempt"] == row["old_attempt"]
    return bool(is_requeued or (row["new_state"] == "failed" and row["fault_kind"] == "quarantined"))


def cancels(evidence: Evidence) -> Verdict:
    """I10: an acknowledged cancel leaves an ended task, and a cancelled one has no picture."""
    answers = [entry for entry in evidence.of("cancelled") if entry["status"] == 200 and entry["id"] in evidence.tasks]
    other = [
        f"{entry['id']} was answered {entry['state']} and is {evidence.tasks[entry['id']]['state']}"
        for entry in answers
        if IN_WORDS.get(evidence.tasks[entry["id"]]["state"]) != entry["state"]
    ]
    published = [
        f"{row['id']} is cancelled and has pictures"
        for row in evidence.record.tasks
        if row["state"] == "cancelled" and outputs_of(row)
    ]
    return Verdict(code="I10", says="cancelled means no picture", checked=len(answers), violations=other + published)


def attempts(evidence: Evidence) -> Verdict:
    """I11: nothing is tried more than three times, and what kills every replica kills three at most."""
    many = [
        f"{row['task_id']} was claimed for attempt {row['new_attempt']}"
        for row in evidence.record.history
        if (row["new_attempt"] or 0) > MAX_ATTEMPTS
    ]
    deaths = Counter(entry["task"] for entry in evidence.witnessed("poisoned"))
    killed = [f"{task} killed {times} replicas" for task, times in deaths.items() if times > MAX_ATTEMPTS]
    survived = [
        f"{task_id} kills replicas and ended {_state(evidence, task_id)}"
        for task_id, wish in evidence.wish_of.items()
        if wish.kind is Kind.KILLS and _state(evidence, task_id) in TERMINAL - {"failed"}
    ]
    checked = len(evidence.record.history)
    return Verdict(code="I11", says="three attempts and no more", checked=checked, violations=many + killed + survived)


def _state(evidence: Evidence, task_id: str) -> str:
    return str(evidence.tasks[task_id]["state"]) if task_id in evidence.tasks else "nowhere"


def innocents(evidence: Evidence) -> Sequence[str]:
    """Return the tasks that were given up although nothing was wrong with them."""
    return [
        row["id"]
        for row in evidence.record.tasks
        if row["fault_kind"] == "quarantined" and row["id"] in evidence.wish_of
        if evidence.wish_of[row["id"]].kind is not Kind.KILLS
    ]
