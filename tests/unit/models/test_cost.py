"""What a request costs a GPU: the unit, and what makes a request dear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from models.cost import (
    USUAL_TABLE,
    UnreadableCosts,
    cost_table,
    find_costs,
    read_costs,
    resident_bytes,
    tokens_of,
    work_units,
)
from models.request import GenerationRequest, Reference, Role

MakeRequest = Callable[..., GenerationRequest]
UNIT = {"width": 1024, "height": 1024, "num_inference_steps": 1}


@pytest.fixture
def cost(make_request: MakeRequest) -> Callable[..., float]:
    """Return the cost of a request; give it what differs from the unit, and the roles of its references."""

    def of(*roles: Role, **fields: Any) -> float:
        references = tuple(Reference(role=role, source="http://a/b.png") for role in roles)
        return work_units(make_request(references=references, **(UNIT | fields)), cost_table())

    return of


def test_the_unit_is_one_step_of_one_megapixel(cost: Callable[..., float]) -> None:
    """One step of one picture of 1024x1024 without references costs exactly 1."""
    assert cost() == 1.0


@pytest.mark.parametrize(("steps", "pictures"), [(28, 1), (1, 4), (28, 4), (50, 20)])
def test_steps_and_pictures_add_up(cost: Callable[..., float], steps: int, pictures: int) -> None:
    """Every step of every picture costs the same."""
    assert cost(num_inference_steps=steps, num_images=pictures) == pytest.approx(steps * pictures)


@pytest.mark.parametrize(
    ("side", "low", "high"), [(256, 0.05, 0.25), (512, 0.2, 0.4), (1536, 2.1, 3.5), (2048, 4.0, 8.0)]
)
def test_the_cost_follows_the_pixels(cost: Callable[..., float], side: int, low: float, high: float) -> None:
    """Small pictures cost more than their share of pixels, for the prompt costs too; large ones as well: attention."""
    assert low < cost(width=side, height=side) < high


def test_a_picture_costs_the_same_lying_or_standing(cost: Callable[..., float]) -> None:
    """Only how many patches of 16 pixels a picture has matters, the last one begun counting whole."""
    assert cost(width=768, height=1024) == cost(width=1024, height=768)
    assert cost(width=1009, height=1024) == cost(width=1024, height=1024)
    assert cost(width=1008, height=1024) < cost(width=1024, height=1024)


@pytest.mark.parametrize("role", Role)
def test_every_reference_costs(cost: Callable[..., float], role: Role) -> None:
    """A reference of any role makes every step dearer."""
    assert cost(role) > cost()


def test_more_references_never_cost_less_than_fewer_of_their_size(cost: Callable[..., float]) -> None:
    """Of several pictures each one adds the same; a lone one is larger, and costs more than two small ones."""
    one, two, three, four = (cost(*[Role.SUBJECT] * number) for number in (1, 2, 3, 4))

    assert two < one < three < four


def test_a_style_costs_less_than_a_picture(cost: Callable[..., float]) -> None:
    """A style is a few tokens, beside a picture or alone."""
    assert 1 < cost(Role.STYLE) < cost(Role.CONTENT) < cost(Role.STYLE, Role.CONTENT)


def test_nothing_is_free(cost: Callable[..., float]) -> None:
    """The smallest request costs more than nothing, so that no number of them comes for free."""
    assert cost(width=128, height=128, num_inference_steps=1) > 0.05


@pytest.mark.parametrize(
    ("side", "roles", "ms"),
    [
        (256, [], 23.8),
        (512, [], 42.5),
        (512, [Role.SUBJECT], 64.3),
        (1024, [], 123.9),
        (1024, [Role.SUBJECT], 152.6),
    ],
)
def test_the_usual_table_knows_a_large_gpu(
    make_request: MakeRequest, side: int, roles: Sequence[Role], ms: float
) -> None:
    """A step takes what the tile model says of an H100, within five percent."""
    references = tuple(Reference(role=role, source="http://a/b.png") for role in roles)
    request = make_request(width=side, height=side, references=references)

    step_ms = cost_table().step(tokens_of(request))

    assert step_ms == pytest.approx(ms, rel=0.05)


def test_company_saves_what_reading_the_weights_costs() -> None:
    """Rows of a group pay for the weights once, which matters where pictures are small."""
    costs = cost_table()

    saved = [1 - costs.step(tokens, rows=8) / (8 * costs.step(tokens)) for tokens in (768, 1536, 4608)]

    assert saved == sorted(saved, reverse=True)
    assert saved[0] > 0.2
    assert saved[-1] < 0.07


def test_a_request_costs_its_steps_and_more(make_request: MakeRequest) -> None:
    """Encoding and decoding are counted where time is asked for."""
    request = make_request(width=1024, height=1024, num_images=2, num_inference_steps=28)
    costs = cost_table()

    ms = costs.request(request)

    assert 56 * costs.step(tokens_of(request)) < ms < 60 * costs.step(tokens_of(request))


def test_what_is_resident_grows_with_the_pictures(make_request: MakeRequest) -> None:
    """A request's pictures share what they are told, so the second one adds less than the first."""
    one, two, three = (resident_bytes(make_request(num_images=number)) for number in (1, 2, 3))

    assert one > two - one == three - two > 0


def test_an_operators_table_is_found_by_name_by_file_or_as_it_is(tmp_path: Path) -> None:
    """The name of one that comes with the package, a file's path and a table's own JSON all stand for a table."""
    text = files("models").joinpath("costs", f"{USUAL_TABLE}.json").read_text(encoding="utf-8")
    file = tmp_path / "mine.json"
    file.write_text(text)

    found = [find_costs(words) for words in (USUAL_TABLE, str(file), text)]

    assert found == [cost_table()] * 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("abacus", f"abacus: no such cost table; write {USUAL_TABLE}, a file"),
        ("/nowhere/h100.json", "/nowhere/h100.json: no cost table can be read there: .*No such file"),
        ("{}", "this JSON: no cost table can be read there: not a cost table of form 1"),
        ("{", "this JSON: no cost table can be read there: Expecting"),
    ],
)
def test_what_stands_for_no_table_is_refused(words: str, reason: str) -> None:
    """A name that nobody knows, a file that is not there and a JSON that is no table are told apart."""
    with pytest.raises(UnreadableCosts, match=reason):
        find_costs(words)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "not a cost table of form 1"),
        ('{"form": 2}', "not a cost table of form 1"),
        ('{"form": 1, "costs": {"step_ms": 1}}', "costs are exactly"),
        ('{"form": 1, "costs": {NEGATIVE}}', "row_ms is not a number of at least 0"),
        ('{"form": 1, "costs": {TRUTH}}', "row_ms is not a number of at least 0"),
        ('{"form": 1, "costs": {ENDLESS}}', "row_ms is not a number of at least 0"),
        ('{"form": 1, "costs": {NOTHING}}', "a step takes no time by it"),
    ],
)
def test_what_is_no_table_is_refused(text: str, reason: str) -> None:
    """A file of another form, with a figure too few or one that cannot be, is refused and says why."""
    others = ("step_ms", "kilotoken_ms", "megapair_ms", "decode_ms", "text_ms", "reference_ms", "style_ms")
    figures = ", ".join(f'"{name}": 1' for name in others)
    wrong = {"{NEGATIVE}": "-1", "{TRUTH}": "true", "{ENDLESS}": "Infinity"}
    for name, figure in wrong.items():
        text = text.replace(name, f'{{{figures}, "row_ms": {figure}}}')
    text = text.replace("{NOTHING}", f'{{{figures}, "row_ms": 0}}'.replace("1", "0"))

    with pytest.raises(UnreadableCosts, match=reason):
        read_costs(text)


def test_a_negative_prompt_costs_a_second_row(cost: Callable[..., float]) -> None:
    """Twice the linear layers and twice the attention; only the weights are read once."""
    assert 1.9 < cost(negative_prompt="fog") / cost() <= 2
