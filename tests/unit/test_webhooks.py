"""When webhooks are repeated, what answers mean, and how much is sent at once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.tasks.outbox import host_of
from deployments.tasks.webhook import DueWebhook, WebhookState
from deployments.webhooks import (
    AT_ONCE,
    PER_FAILING_HOST,
    PER_HOST,
    PER_TENANT,
    TRIES,
    Hands,
    judge_failure,
    judge_status,
    pause_s,
)

CHANCES = st.floats(min_value=0, max_value=1)


def due(number: int = 1, *, host: str = "a:443", tenant_id: str = "alice") -> DueWebhook:
    """Return a webhook that was taken."""
    return DueWebhook(
        id=str(number),
        tenant_id=tenant_id,
        task_id="0" * 32,
        url=f"https://{host}/",
        host=host,
        base_url="http://us",
        picture=None,
        attempt=1,
    )


@given(chance=CHANCES)
def test_first_repeat_comes_within_half_a_minute(chance: float) -> None:
    """Even after a send that hung for its 15 s, the second try begins within 30 s of the first."""
    assert pause_s(1, chance=chance) >= 5
    assert 15 + pause_s(1, chance=chance) <= 30


@given(chances=st.lists(CHANCES, min_size=TRIES - 1, max_size=TRIES - 1))
def test_pauses_grow_to_two_hours(chances: list[float]) -> None:
    """Whatever chance does, each pause is longer than the one before, and the last is two hours or a little less."""
    pauses = [pause_s(attempt, chance=chance) for attempt, chance in enumerate(chances, 1)]

    assert all(longer > shorter for shorter, longer in pairwise(pauses))
    assert 0.8 * 7200 <= pauses[-1] <= 7200


@given(status=st.integers(min_value=100, max_value=599), attempt=st.integers(min_value=1, max_value=TRIES))
def test_only_good_statuses_are_receipts(status: int, attempt: int) -> None:
    """Any 2xx is a receipt, 410 ends it at once, and everything else is repeated up to the tenth try."""
    verdict = judge_status(status, attempt=attempt)

    if 200 <= status <= 299:
        assert (verdict.state, verdict.is_host_failing) == (WebhookState.DELIVERED, False)
    elif status == 410:
        assert (verdict.state, verdict.is_host_failing) == (WebhookState.DEAD, False)
    else:
        assert verdict == judge_failure(str(status), attempt=attempt)
    assert verdict.answer == str(status)


def test_the_tenth_failure_is_the_last() -> None:
    """Nine failures are repeated and the tenth is not."""
    states = [judge_failure("no", attempt=attempt).state for attempt in range(1, 11)]

    assert states == [WebhookState.WAITING] * 9 + [WebhookState.DEAD]


def test_a_host_is_sent_four_at_once() -> None:
    """Each send takes from its host, its tenant and the whole; its end gives it back."""
    hands = Hands()

    for number in range(PER_HOST):
        hands.fill(due(number))

    assert (hands.room.total, hands.room.hosts, hands.room.tenants) == (
        AT_ONCE - PER_HOST,
        {"a:443": 0},
        {"alice": PER_TENANT - PER_HOST},
    )
    hands.free(due(0))
    assert (hands.room.total, hands.room.hosts) == (AT_ONCE - PER_HOST + 1, {"a:443": 1})


def test_a_failing_host_is_sent_one_at_a_time() -> None:
    """After a failure there is room for one, also when it hits while others are under way; a success makes it good."""
    hands = Hands()

    hands.note("a:443", is_failing=True)
    assert hands.room.hosts == {"a:443": PER_FAILING_HOST}

    hands.fill(due())
    hands.fill(due(2))
    assert hands.room.full["full_hosts"] == ["a:443"]

    hands.note("a:443", is_failing=False)
    assert hands.room.hosts == {"a:443": PER_HOST - 2}


def test_a_tenant_has_half_of_the_hands_at_most() -> None:
    """A tenant with many dead hosts leaves room for others."""
    hands = Hands()

    for number in range(PER_TENANT):
        hands.fill(due(number, host=f"{number}:443"))

    assert hands.room.full["full_tenants"] == ["alice"]
    assert hands.room.total == AT_ONCE - PER_TENANT


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.org/a?b", "example.org:443"),
        ("http://example.org/", "example.org:80"),
        ("https://example.org:8443/", "example.org:8443"),
        ("http://[::1]:80/", "::1:80"),
        ("https://user:secret@example.org/", "example.org:443"),
        ("http://[", ""),
        ("http://example.org:port/", ""),
        ("nonsense", ":0"),
    ],
)
def test_host_of_an_address(url: str, host: str) -> None:
    """Host and port name a receiver, without what may be secret; what cannot be read raises nothing."""
    assert host_of(url) == host
