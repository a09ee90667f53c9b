"""The promises, each checked against what outside hands wrote down; pure.

Each check looks at everything there is and says how much that was, so that a promise that nothing touched shows.
"""

from __future__ import annotations

from collections import Counter

from acceptance.chaos.evidence import TERMINAL, Evidence, Verdict
from acceptance.chaos.keeping import attempts, cancels, fences, pictures, states
from acceptance.chaos.reckoning import caps, footprints, money
from acceptance.chaos.telling import webhooks

#: Answers that say plainly that nothing was accepted.
_PLAIN_REFUSALS = frozenset({400, 401, 402, 403, 404, 409, 413, 422, 429})


def judge(evidence: Evidence) -> list[Verdict]:
    """Check every promise."""
    return [
        accepted_is_terminal(evidence),
        states(evidence),
        pictures(evidence),
        one_key_one_task(evidence),
        refused_is_nothing(evidence),
        webhooks(evidence),
        fences(evidence),
        money(evidence),
        caps(evidence),
        cancels(evidence),
        attempts(evidence),
        footprints(evidence),
    ]


def accepted_is_terminal(evidence: Evidence) -> Verdict:
    """I1: every id that was answered 2xx is in the books, and has ended."""
    ids = sorted(set().union(*evidence.accepted.values())) if evidence.accepted else []
    lost = [f"{task_id} was accepted and is not there" for task_id in ids if task_id not in evidence.tasks]
    forgotten = [
        f"{entry['id']} was accepted, then answered 404" for entry in evidence.of("seen") if entry["state"] == "unknown"
    ]
    open_ = [
        f"{task_id} is still {evidence.tasks[task_id]['state']}"
        for task_id in ids
        if task_id in evidence.tasks and evidence.tasks[task_id]["state"] not in TERMINAL and evidence.is_complete
    ]
    return Verdict(
        code="I1", says="accepted tasks all reach their end", checked=len(ids), violations=lost + forgotten + open_
    )


def one_key_one_task(evidence: Evidence) -> Verdict:
    """I4: all copies of a call got one id, another body under its key is refused, and every task has a key."""
    twice = [f"{key} was answered with {len(ids)} ids" for key, ids in evidence.accepted.items() if len(ids) > 1]
    rows = Counter((row["tenant_id"], row["key"]) for row in evidence.record.keys)
    doubled = [f"{key} has made {times} tasks" for key, times in rows.items() if times > 1]
    stray = [f"task {task_id} belongs to no key" for task_id in evidence.tasks if task_id not in evidence.wish_of]
    reused = [
        f"{entry['key']} was accepted with another body"
        for entry in evidence.of("answered")
        if entry["copy"] == -1 and entry["status"] == 200
    ]
    sent = len({(entry["tenant"], entry["key"]) for entry in evidence.of("sent")})
    violations = twice + doubled + stray + reused
    return Verdict(code="I4", says="one key makes one task", checked=sent, violations=violations)


def refused_is_nothing(evidence: Evidence) -> Verdict:
    """I5: a wish that was plainly refused, every time, left nothing behind."""
    unclear = {(entry["tenant"], entry["key"]) for entry in evidence.of("answered") if not _is_refusal(entry["status"])}
    sent = {(entry["tenant"], entry["key"]) for entry in evidence.of("sent")}
    # A call that was never answered, because the run ended, may have been accepted.
    asked, heard = len(evidence.of("sent")), len(evidence.of("answered"))
    refused = sent - unclear if asked == heard else set()
    made = {(wish.tenant, wish.key) for wish in evidence.wish_of.values()}
    violations = [f"{key} was refused and has a task" for key in sorted(refused & made)]
    return Verdict(code="I5", says="what is refused leaves nothing", checked=len(refused), violations=violations)


def _is_refusal(status: int) -> bool:
    return status in _PLAIN_REFUSALS
