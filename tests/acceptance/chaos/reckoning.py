"""Checks of what was charged, of caps, and of what gateways hold of the machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from acceptance.chaos.books import Row
from acceptance.chaos.evidence import TERMINAL, Evidence, Footprint, Verdict

#: What a gateway may hold beyond what it held at first: its pool of connections, and what it has learnt.
MORE_DESCRIPTORS, MORE_MEMORY_MIB = 16, 64
#: The same for threads: the pools that serve files and decode, which keep theirs. Source: anyio 4 has 40 of them, and
#: the event loop's own pool has 4 more than there are cores.
MORE_THREADS = 48


def money(evidence: Evidence) -> Verdict:
    """I8: every task is charged once, as agreed; tenants' sums are those of their charges; no budget is overspent."""
    charges = Counter(row["task_id"] for row in evidence.record.charges)
    twice = [f"{task_id} was charged {times} times" for task_id, times in charges.items() if times > 1]
    amounts = {row["task_id"]: row["amount"] for row in evidence.record.charges}
    wrong = [
        f"{row['id']} ended {row['state']} and was charged {amounts.get(row['id'], 0)} of {row['price']}"
        for row in evidence.record.tasks
        if amounts.get(row["id"], 0) != _due(row)
    ]
    prices = [
        f"{task_id} was priced {evidence.tasks[task_id]['price']} and not {wish.price}"
        for task_id, wish in evidence.wish_of.items()
        if task_id in evidence.tasks and evidence.tasks[task_id]["price"] != wish.price
    ]
    sums = [problem for row in evidence.record.tenants for problem in _sum_problems(evidence, row)]
    checked = len(evidence.record.tasks) + len(evidence.record.tenants) + evidence.samples.taken
    violations = [*twice, *wrong, *prices, *sums, *evidence.samples.budgets]
    return Verdict(code="I8", says="charged once, never beyond the budget", checked=checked, violations=violations)


def _due(task: Row) -> int:
    if task["state"] == "succeeded" or task["fault_kind"] == "upload_failed":
        return int(task["price"])
    if task["state"] == "cancelled":
        taken = min(task["steps_done"], task["steps_total"])
        return int(task["price"]) * int(taken) // int(task["steps_total"])
    return 0


def _sum_problems(evidence: Evidence, tenant: Row) -> Iterator[str]:
    mine = [row for row in evidence.record.tasks if row["tenant_id"] == tenant["id"]]
    held = sum(row["price"] for row in mine if row["state"] not in TERMINAL)
    spent = sum(row["amount"] for row in evidence.record.charges if row["tenant_id"] == tenant["id"])
    if tenant["held"] != held:
        yield f"{tenant['id']} has {tenant['held']} held for {held}"
    if tenant["spent"] != spent:
        yield f"{tenant['id']} has spent {tenant['spent']} by charges of {spent}"
    if tenant["budget"] is not None and spent + held > tenant["budget"]:
        yield f"{tenant['id']} has spent {spent + held} of {tenant['budget']}"


def caps(evidence: Evidence) -> Verdict:
    """I9: whenever somebody looked, no tenant had more running or waiting than it may."""
    samples = evidence.samples
    return Verdict(code="I9", says="caps of tenants hold", checked=samples.taken, violations=samples.caps)


def footprints(evidence: Evidence) -> Verdict:
    """I12: gateways hold no more of the machine than when they had just started."""
    before, after = evidence.footprints
    if not before or not after:
        return Verdict(code="I12", says="nothing leaks: not looked at", checked=None)
    violations = [f"{each} is more than at first" for each in grown(before, after)]
    return Verdict(code="I12", says="gateways return to where they began", checked=len(after), violations=violations)


def grown(before: Sequence[Footprint], after: Sequence[Footprint]) -> list[Footprint]:
    """Return the gateways that hold more than any did at first, and more than their pools explain."""
    descriptors = max(each.descriptors for each in before) + MORE_DESCRIPTORS
    threads = max(each.threads for each in before) + MORE_THREADS
    memory_mib = max(each.memory_mib for each in before) + MORE_MEMORY_MIB
    return [
        each
        for each in after
        if each.descriptors > descriptors or each.threads > threads or each.memory_mib > memory_mib
    ]
