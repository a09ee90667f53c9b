"""What each model takes and refuses, and that its pipeline is where the catalog says."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from models.catalog import (
    CATALOG,
    MAX_GUIDANCE,
    MAX_IMAGES,
    MAX_SIDE,
    MAX_STEPS,
    MIN_GUIDANCE,
    MIN_SIDE,
    MIN_STEPS,
    SIZE_PRESETS,
    UNO,
    USO,
    ModelSpec,
)
from models.request import GenerationRequest, InvalidRequest, Reference, Role, UnusableReference

MakeRequest = Callable[..., GenerationRequest]
ROOT = Path(__file__).parents[3]
LIMITS = [
    ("width", MIN_SIDE, MAX_SIDE),
    ("height", MIN_SIDE, MAX_SIDE),
    ("num_images", 1, MAX_IMAGES),
    ("num_inference_steps", MIN_STEPS, MAX_STEPS),
    ("guidance_scale", MIN_GUIDANCE, MAX_GUIDANCE),
]


def references(*roles: Role) -> tuple[Reference, ...]:
    """Make one reference for each role."""
    return tuple(Reference(role=role, source="http://a/b.png") for role in roles)


@pytest.mark.parametrize(("field", "value"), [(name, limit) for name, *both in LIMITS for limit in both])
def test_limits_belong_to_what_is_allowed(make_request: MakeRequest, field: str, value: float) -> None:
    """A request at the very limit of a field is taken."""
    UNO.check(make_request(**{field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [(name, value) for name, low, high in LIMITS for value in (low - 1, high + 1, float("nan"), float("inf"))],
)
def test_beyond_a_limit_is_refused_by_name(make_request: MakeRequest, field: str, value: float) -> None:
    """A request beyond a limit, or of no number at all, is refused in words that name the field and its range."""
    low, high = {name: both for name, *both in LIMITS}[field]

    with pytest.raises(InvalidRequest) as refusal:
        UNO.check(make_request(**{field: value}))

    assert str(refusal.value) == f"{field} must be between {low:g} and {high:g}"


@pytest.mark.parametrize(
    ("spec", "roles"),
    [
        (UNO, []),
        (UNO, [Role.SUBJECT] * 4),
        (USO, []),
        (USO, [Role.CONTENT]),
        (USO, [Role.STYLE] * 4),
        (USO, [Role.STYLE, Role.CONTENT, Role.STYLE]),
    ],
)
def test_a_model_takes_its_references(make_request: MakeRequest, spec: ModelSpec, roles: Sequence[Role]) -> None:
    """References are taken up to the model's number, in any order of roles."""
    spec.check(make_request(model=spec.name, references=references(*roles)))


@pytest.mark.parametrize(
    ("spec", "roles", "message"),
    [
        (UNO, [Role.SUBJECT] * 5, "subject references must be between 0 and 4"),
        (UNO, [Role.STYLE], "style references must be between 0 and 0"),
        (USO, [Role.CONTENT] * 2, "content references must be between 0 and 1"),
        (USO, [Role.SUBJECT, Role.STYLE], "subject references must be between 0 and 0"),
    ],
)
def test_too_many_of_a_role_are_refused_by_name(
    make_request: MakeRequest, spec: ModelSpec, roles: Sequence[Role], message: str
) -> None:
    """More references of a role than the model takes, or any of a role it has no use for, are refused."""
    with pytest.raises(InvalidRequest, match=f"^{message}$"):
        spec.check(make_request(model=spec.name, references=references(*roles)))


@pytest.mark.parametrize("size", SIZE_PRESETS.values(), ids=SIZE_PRESETS)
@pytest.mark.parametrize("spec", CATALOG.values(), ids=CATALOG)
def test_every_preset_and_default_is_within_the_limits(
    make_request: MakeRequest, spec: ModelSpec, size: tuple[int, int]
) -> None:
    """What a caller gets by saying nothing, at any named size, is never refused."""
    width, height = size

    spec.check(
        make_request(
            model=spec.name,
            width=width,
            height=height,
            num_inference_steps=spec.default_steps,
            guidance_scale=spec.default_guidance,
        )
    )


@pytest.mark.parametrize(
    ("spec", "fields", "price"),
    [
        (UNO, {"width": 1024, "height": 1024}, 50_000),
        (USO, {"width": 1024, "height": 1024}, 60_000),
        (UNO, {"width": 1024, "height": 1024, "num_images": 4}, 200_000),
        (UNO, {"width": 512, "height": 512}, 12_500),
        (UNO, {"width": 512, "height": 512, "num_images": 3}, 37_500),
        (UNO, {"width": 2048, "height": 2048}, 200_000),
        # 128 x 129 pixels at 50,000 the megapixel are 787.35…, and a part of a millionth counts whole.
        (UNO, {"width": 128, "height": 129}, 788),
    ],
)
def test_the_price_is_by_the_megapixel(
    make_request: MakeRequest, spec: ModelSpec, fields: dict[str, int], price: int
) -> None:
    """A result costs its pixels, all pictures together, rounded up once and to a whole millionth of a dollar."""
    assert spec.price(make_request(model=spec.name, **fields)) == price


@pytest.mark.parametrize("fields", [{"num_inference_steps": 50}, {"guidance_scale": 20.0}, {"seed": 9}])
def test_the_price_is_for_the_result(make_request: MakeRequest, fields: dict[str, Any]) -> None:
    """How a picture is made does not change what it costs."""
    assert UNO.price(make_request(**fields)) == UNO.price(make_request())


@pytest.mark.parametrize("spec", CATALOG.values(), ids=CATALOG)
def test_nothing_is_given_away(make_request: MakeRequest, spec: ModelSpec) -> None:
    """The smallest picture of every model has a price."""
    assert spec.price(make_request(model=spec.name, width=MIN_SIDE, height=MIN_SIDE)) > 0


@pytest.mark.parametrize("name", CATALOG)
def test_the_catalog_names_a_pipeline_that_is_there(name: str) -> None:
    """Every entry stands under its own name, and the file and class of its pipeline exist."""
    module, _, class_name = CATALOG[name].pipeline.partition(":")

    source = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")

    assert CATALOG[name].name == name
    assert re.search(rf"^class {class_name}\b", source, re.MULTILINE)


def test_an_unusable_reference_is_named_by_its_place() -> None:
    """What is wrong with a reference is said with its number, counted from 1."""
    fault = UnusableReference(2, "is too thin")

    assert (str(fault), fault.position, fault.reason) == ("reference 2 is too thin", 2, "is too thin")
