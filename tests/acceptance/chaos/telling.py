"""Checks of webhooks: what is stored and what callers asked for, held against what their receiver wrote down."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Iterator, Sequence

from acceptance.chaos.books import Row
from acceptance.chaos.evidence import IN_WORDS, TERMINAL, Evidence, Verdict, outputs_of
from acceptance.chaos.journal import Entry
from acceptance.chaos.letterbox import Welcome
from acceptance.chaos.orders import SECRET

from deployments.tenants.webhook_keys import SECRET_PREFIX, WebhookSigner

#: States of whose arrival callers are told.
TOLD = frozenset({"succeeded", "failed"})


def webhooks(evidence: Evidence) -> Verdict:
    """I6: who wants to be told is told until they take it, or it is given up; one event, in the same words, of what is.

    Whatever is told is stored, signed, and was asked for.
    """
    # While tasks have not ended, I1 says so, and what also waits behind them is no news.
    is_over = evidence.is_complete and all(row["state"] in TERMINAL for row in evidence.record.tasks)
    wanted = [
        task_id
        for task_id, wish in evidence.wish_of.items()
        if wish.welcome is not None and _state(evidence, task_id) in TOLD
    ]
    untold = [
        f"{task_id} is {_state(evidence, task_id)} and nobody was told"
        for task_id in wanted
        if is_over and not _is_settled(evidence, task_id)
    ]
    noted = [problem for row in evidence.record.webhooks for problem in _row_problems(evidence, row)]
    events = Counter(row["task_id"] for row in evidence.record.webhooks)
    doubled = [f"{task_id} made {times} events" for task_id, times in events.items() if times > 1]
    said = [problem for address in evidence.receipts for problem in _receipt_problems(evidence, address)]
    checked = len(wanted) + sum(map(len, evidence.receipts.values()))
    return Verdict(
        code="I6", says="webhooks reach their receivers", checked=checked, violations=noted + untold + doubled + said
    )


def _is_settled(evidence: Evidence, task_id: str) -> bool:
    """Tell whether somebody took a task's webhook, or it was given up where everybody can see it."""
    return Welcome.TAKES in _welcomes(evidence, task_id) or any(
        row["task_id"] == task_id and row["state"] == "dead" for row in evidence.record.webhooks
    )


def _row_problems(evidence: Evidence, row: Row) -> Iterator[str]:
    """Find what is said of a webhook in the books and is not so."""
    task_id, welcomes = row["task_id"], _welcomes(evidence, row["task_id"])
    if row["state"] == "delivered" and Welcome.TAKES not in welcomes:
        yield f"{task_id} is said to be delivered, and nobody took it"
    if row["state"] == "dead" and Welcome.IS_GONE not in welcomes:
        yield f"{task_id} was given up after {row['attempts']} tries, though it would have been taken"
    if row["state"] == "silent" and _state(evidence, task_id) in TOLD:
        yield f"{task_id} is {_state(evidence, task_id)} and was not worth telling"


def _receipt_problems(evidence: Evidence, address: tuple[str, str]) -> Iterator[str]:
    """Find what is wrong with everything that one wish's receiver got."""
    receipts, task_id = evidence.receipts[address], evidence.task_of.get(address, "")
    if _state(evidence, task_id) not in TOLD:
        yield f"{address} was told of a task that is {_state(evidence, task_id)}"
        return
    if {entry["id"] for entry in receipts} != {row["id"] for row in _rows_of(evidence, task_id)}:
        yield f"{task_id} was told under other ids than that of its one event"
    bodies = {entry["body"] for entry in receipts}
    if len(bodies) > 1:
        yield f"{task_id} was told in {len(bodies)} different ways"
    for body in bodies:
        yield from _untruths(evidence, task_id, json.loads(body))
    if not all(_is_signed(entry) for entry in receipts):
        yield f"{task_id} was told with a signature that is not ours"


def _untruths(evidence: Evidence, task_id: str, told: Row) -> Iterator[str]:
    task, wish = evidence.tasks[task_id], evidence.wish_of[task_id]
    if (told["id"], told["status"]) != (task_id, IN_WORDS[task["state"]]):
        yield f"{task_id} is {task['state']} and was told as {told['id']}, {told['status']}"
    names = [url.rsplit("/", 1)[-1] for url in told["outputs"]]
    if names != [output["value"] for output in outputs_of(task)]:
        yield f"{task_id} was told with other pictures than it has"
    if wish.welcome is None or told["input"] != json.loads(wish.body()):
        yield f"{task_id} was told with another wish than its own"


def _is_signed(entry: Entry) -> bool:
    secret = WebhookSigner(SECRET).secret_of(entry["tenant"]).removeprefix(SECRET_PREFIX)
    message = f"{entry['id']}.{entry['stamp']}.{entry['body']}".encode("latin-1")
    return bool(entry["signature"] == f"v3,{hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()}")


def _rows_of(evidence: Evidence, task_id: str) -> Sequence[Row]:
    return [row for row in evidence.record.webhooks if row["task_id"] == task_id]


def _welcomes(evidence: Evidence, task_id: str) -> frozenset[str]:
    wish = evidence.wish_of.get(task_id)
    entries = evidence.receipts.get((wish.tenant, wish.key), ()) if wish is not None else ()
    return frozenset(entry["welcome"] for entry in entries)


def _state(evidence: Evidence, task_id: str) -> str:
    return str(evidence.tasks[task_id]["state"]) if task_id in evidence.tasks else "nowhere"
