"""Profiles: what a YAML file may say, and the due times and orders that follow from it."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import pytest

from loadtest.openloop.due import due_times, orders_of
from loadtest.openloop.order import Order, hurried, tenants_of
from loadtest.openloop.profile import PROFILES, Noisy, Profile, TooManyOrders, UnreadableProfile, read_profile
from loadtest.openloop.source import UnreadableLoad, askable, load_of, profile_load


def profile(**fields: object) -> Profile:
    """Make a profile of 1,000 seconds."""
    return Profile.model_validate({"seconds": 1000, "arrivals": {"kind": "poisson", "rate": 5}} | fields)


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_our_profiles_can_be_read(path: Path) -> None:
    """Every profile that is shipped is known by its name and has orders in the order of their due times."""
    orders = orders_of(read_profile(path.stem))

    assert orders
    assert [order.at_s for order in orders] == sorted(order.at_s for order in orders)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seconds: 5\narrivals: {kind: poisson, rate: 1}\nspeed: 3", "speed: Extra"),
        ("seconds: 5\narrivals: {kind: poisson, rate: 1, peak: 2}", "arrivals.poisson.peak: Extra"),
        ("seconds: -5\narrivals: {kind: poisson, rate: 1}", "seconds: Input should be greater than 0"),
        ("arrivals: {kind: poisson, rate: 1}", "seconds: Field required"),
        ("seconds: 5\nwarm_up_s: 5\narrivals: {kind: poisson, rate: 1}", "warm_up_s has to end before seconds do"),
        ("seconds: 5\narrivals: {kind: tide, rate: 1}", "arrivals: Input tag 'tide'"),
        ("seconds: .inf\narrivals: {kind: poisson, rate: 1}", "seconds: Input should be a finite number"),
        ("seconds: 5\narrivals: {kind: steady, rate: 1e400}", "arrivals.steady.rate: Input should be a finite number"),
        ("seconds: 5\narrivals: {kind: poisson, rate: .nan}", "arrivals.poisson.rate: Input should be"),
        ("seconds: 5\narrivals: {kind: poisson, rate: 1}\ntenants: 2000000000", "tenants: Input should be less"),
        ("seconds: 5\narrivals: {kind: poisson, rate: 1}\nwishes: {steps: {1: 1e308, 2: 1e308}}", "wishes.steps.1: "),
        (
            "seconds: 5\narrivals: {kind: poisson, rate: 1}\nwebhooks_at: http://10.0.0.7:99999",
            "webhooks_at: Value error, ports are 1 to 65535",
        ),
        ("just words", "the file: "),
        ("a: [", "no YAML"),
    ],
)
def test_a_wrong_profile_is_one_clear_line(tmp_path: Path, text: str, named: str) -> None:
    """What is wrong is named with the file and the key, in one line."""
    path = tmp_path / "wrong.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(UnreadableProfile) as refused:
        read_profile(str(path))

    assert str(refused.value).startswith(str(path))
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_profile_that_is_not_there_names_ours() -> None:
    """Who mistypes a name is told which there are."""
    with pytest.raises(UnreadableProfile, match=r"poison: .*poisson"):
        read_profile("poison")


@pytest.mark.parametrize(
    "fields",
    [
        {"arrivals": {"kind": "poisson", "rate": 1e9}},
        {"arrivals": {"kind": "steady", "rate": 1e300}, "seconds": 1e300},
        {"arrivals": {"kind": "burst", "rate": 1, "peak": 1e7}},
        {"arrivals": {"kind": "burst", "rate": 1, "peak": 1, "calm_s": 1e-310, "peak_s": 1e-310}},
        {"noisy": {"rate": 1e12, "for_s": 1}},
    ],
    ids=["poisson", "steady", "burst", "restless", "noisy"],
)
def test_more_orders_than_fit_into_memory_are_refused_undrawn(fields: dict[str, object]) -> None:
    """Whoever writes too many zeros is told so at once, and how many orders that would be."""
    with pytest.raises(TooManyOrders, match="more than the 2,000,000 of one load; lower its rate or seconds"):
        orders_of(profile(**fields))


def test_orders_are_the_same_for_the_same_seed() -> None:
    """A load can be repeated; another seed is another load."""
    again, other = orders_of(profile(tenants=5)), orders_of(profile(tenants=5, seed=8))

    assert orders_of(profile(tenants=5)) == again
    assert again != other


def test_poisson_arrivals_come_at_their_rate() -> None:
    """5 a second for 1,000 s are about 5,000, and about as many distances are short as chance wants."""
    due = due_times(profile())
    gaps = [later - earlier for earlier, later in pairwise(due)]

    assert 4750 < len(due) < 5250
    # Of a Poisson process 63 % of the distances are below the mean.
    assert 0.6 < sum(gap < 0.2 for gap in gaps) / len(gaps) < 0.66


def test_bursts_are_bursts() -> None:
    """Counted per second, arrivals that burst vary more than their mean; a Poisson process varies as much."""
    burst = {"kind": "burst", "rate": 2, "peak": 20, "calm_s": 20, "peak_s": 5}

    assert dispersion(due_times(profile(arrivals=burst))) > 3
    assert 0.8 < dispersion(due_times(profile())) < 1.2


def test_steady_arrivals_are_even() -> None:
    """Two a second come half a second apart."""
    due = due_times(profile(seconds=2, arrivals={"kind": "steady", "rate": 2}))

    assert due == [0.0, 0.5, 1.0, 1.5]


def test_a_noisy_tenant_comes_on_top_and_in_its_time() -> None:
    """The flood lies where the profile says, and the others ask what they asked without it."""
    calm = orders_of(profile(tenants=3))
    orders = orders_of(profile(tenants=3, noisy={"rate": 50, "from_s": 100, "for_s": 20}))
    flood = [order for order in orders if order.tenant == "noisy"]

    assert [order for order in orders if order.tenant != "noisy"] == calm
    assert 900 < len(flood) < 1100
    assert all(100 <= order.at_s < 120 for order in flood)


def test_shares_are_kept() -> None:
    """About as many orders are bad, taken back, or asked in a dialect as the profile says; fal is asked for USO."""
    orders = orders_of(profile(bad_input=0.1, cancels={"share": 0.2}, dialects={"wavespeed": 3, "fal": 1}))

    assert 0.08 < sum(order.is_bad for order in orders) / len(orders) < 0.12
    # A bad one is never taken back: 0.2 of the other nine tenths.
    assert 0.16 < sum(order.cancel_after_s is not None for order in orders) / len(orders) < 0.2
    assert 0.22 < sum(order.dialect == "fal" for order in orders) / len(orders) < 0.28
    assert {order.model for order in orders if order.dialect == "fal"} == {"uso"}


def test_small_pictures_stay_small() -> None:
    """The one size of WaveSpeed's USO is asked for where a profile has it among its wishes, and UNO elsewhere."""
    small, mixed = (askable(orders_of(read_profile(name))) for name in ("laptop", "mixed"))

    assert {(order.width, order.height) for order in small} == {(512, 512)}
    assert ({order.steps for order in small}, {order.images for order in small}) == ({4, 8}, {1, 2})
    assert {order.model for order in small} == {"uno", "uso"}
    assert {(order.width, order.steps, order.images) for order in mixed if named(order) == "wavespeed uso"} == {
        (1024, 28, 1)
    }


def test_who_wishes_for_uso_alone_is_given_it() -> None:
    """Where a profile has no other model, WaveSpeed is asked for USO as it is, and the order says so."""
    asked = profile(seconds=10, wishes={"models": {"uso": 1}, "sizes": {"512x512": 1}, "steps": {4: 1}})

    assert {(order.model, order.width, order.steps) for order in askable(orders_of(asked))} == {("uso", 1024, 28)}


def test_a_profile_at_another_rate_keeps_its_shape() -> None:
    """The peak of a burst moves with the rate, and so does the flood of a noisy tenant."""
    burst = profile(arrivals={"kind": "burst", "rate": 2, "peak": 10}, noisy={"rate": 50, "for_s": 9}).at_rate(6)

    assert (burst.arrivals.rate, burst.arrivals.model_dump()["peak"]) == (6, 30)
    assert burst.noisy == Noisy(rate=150, for_s=9)


def test_a_report_can_say_what_its_load_was() -> None:
    """A profile is told of whole, with what it does not say itself, so that the same can be drawn once more."""
    wanted = profile(seed=11, wishes={"steps": {12: 1}})

    told = profile_load(wanted, speed=1.0, target="", keys=["k"]).source

    assert told["seed"] == 11
    assert Profile.model_validate(json.loads(json.dumps(told))) == wanted


def test_a_trace_is_known_by_its_digest(tmp_path: Path) -> None:
    """Two reports of one trace say that it was the same, and what was in it stays where it is."""
    path = tmp_path / "day.jsonl"
    path.write_text('{"trace": 1}\n{"at_s": 0, "tenant": "a"}\n', encoding="utf-8")

    told = load_of(str(path), speed=1.0, target="", keys=["k"]).source

    assert told == {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_a_load_without_orders_is_none(tmp_path: Path) -> None:
    """A trace that has a heading alone, and a profile that is over before its first order, are refused in a line."""
    trace, short = tmp_path / "empty.jsonl", tmp_path / "short.yaml"
    trace.write_text('{"trace": 1}\n', encoding="utf-8")
    short.write_text("seconds: 1\narrivals: {kind: poisson, rate: 0.0001}\n", encoding="utf-8")

    for path in (trace, short):
        with pytest.raises(UnreadableLoad, match=f"{path.name}: no orders; there is nothing to send"):
            load_of(str(path), speed=1.0, target="", keys=["k"])


def test_hurried_orders_come_sooner_and_are_else_the_same() -> None:
    """Twice as fast means half the due time; what is between an order and its cancel stays."""
    orders = [Order(at_s=4, tenant="b", cancel_after_s=2), Order(at_s=6, tenant="a")]

    assert hurried(orders, 2) == [Order(at_s=2, tenant="b", cancel_after_s=2), Order(at_s=3, tenant="a")]
    assert tenants_of(orders) == ["a", "b"]


def named(order: Order) -> str:
    """Return dialect and model."""
    return f"{order.dialect} {order.model}"


def dispersion(due: list[float]) -> float:
    """Divide the variance of the counts per second by their mean."""
    counts = [0] * 1000
    for at in due:
        counts[int(at)] += 1
    mean = sum(counts) / len(counts)
    return sum((count - mean) ** 2 for count in counts) / len(counts) / mean
