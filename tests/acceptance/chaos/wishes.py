"""What the load client asks for: a fixed list of wishes, drawn from a seed, each with its own idempotency key."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from random import Random
from types import MappingProxyType
from typing import Any

from acceptance.chaos.letterbox import Welcome
from acceptance.chaos.paint import BREAKS, KILLS, undisturbed
from PIL import Image

from models.catalog import UNO
from models.request import GenerationRequest, ImageFormat

#: What one picture costs, in millionths of a dollar: a quarter of a megapixel.
PICTURE_PRICE = UNO.price_per_megapixel // 4
_SIDE = 512


class Kind(StrEnum):
    """What becomes of a wish."""

    #: It is asked for and awaited.
    PLAIN = "plain"
    #: It is cancelled soon after it was accepted.
    CANCEL = "cancel"
    #: The model fails on it.
    BREAKS = "breaks"
    #: It kills every replica that touches it.
    KILLS = "kills"
    #: It is malformed, so it is refused.
    BAD = "bad"
    #: Its key is used once more, for another body, which is refused.
    REUSE = "reuse"
    #: It is given up when the server says that it is too much.
    SHY = "shy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One wish of one tenant."""

    #: Under which it is sent, however often.
    key: str
    #: Whose it is.
    tenant: str
    #: What becomes of it.
    kind: Kind
    #: Seed of its first picture.
    seed: int
    #: Steps of each picture.
    steps: int
    #: Pictures.
    images: int
    #: Copies that are sent at the same time.
    copies: int = 1
    #: How its webhook is met, try by try, before it is taken; None: it asks for none.
    welcome: Sequence[Welcome] | None = None

    @property
    def prompt(self) -> str:
        """Return its prompt, which no other wish has."""
        return f"{self.key} {_WORDS.get(self.kind, '')}".rstrip()

    @property
    def price(self) -> int:
        """Return what it costs when it succeeds, in millionths of a dollar."""
        return self.images * PICTURE_PRICE

    def body(self) -> bytes:
        """Write it as WaveSpeed wants it."""
        return json.dumps(self._fields()).encode()

    def other_body(self) -> bytes:
        """Write another wish, as a caller does who uses a key twice."""
        return json.dumps(self._fields() | {"seed": self.seed + 1000}).encode()

    def expected(self) -> list[str]:
        """Return the SHA-256 of every picture that an undisturbed run makes, hex."""
        request = GenerationRequest(
            model=UNO.name,
            prompt=self.prompt,
            references=(),
            width=_SIDE,
            height=_SIDE,
            num_images=self.images,
            num_inference_steps=self.steps,
            guidance_scale=3.5,
            seed=self.seed,
            output_format=ImageFormat.PNG,
        )
        return undisturbed(request)

    def _fields(self) -> dict[str, Any]:
        return {
            "prompt": self.prompt,
            "images": [reference()],
            "image_size": "square",
            "num_images": 99 if self.kind is Kind.BAD else self.images,
            "num_inference_steps": self.steps,
            "seed": self.seed,
            "output_format": "png",
        }


#: Of all webhooks, this share is wanted by nobody any more.
_GONE_SHARE = 0.03
_TROUBLES = (Welcome.BREAKS, Welcome.HANGS, Welcome.HANGS_UP)
_WORDS = {Kind.BREAKS: BREAKS, Kind.KILLS: KILLS}

#: Of a hundred wishes, so many are of a kind; the rest is plain.
MIX: Mapping[Kind, float] = MappingProxyType({Kind.CANCEL: 10, Kind.BREAKS: 2, Kind.BAD: 2, Kind.REUSE: 3, Kind.SHY: 5})


def draw_wishes(
    number: int,
    random: Random,
    *,
    mix: Mapping[Kind, float] = MIX,
    killers: int = 0,
    webhook_every: int = 5,
    tenants: Sequence[str] = ("alice", "alice", "alice", "alice", "bob", "bob", "carol"),
) -> list[Wish]:
    """Draw a list of wishes.

    Args:
        number: how many.
        random: decides; the same seed gives the same list.
        mix: how many of a hundred are of a kind that is not plain.
        killers: how many of them kill their replica.
        webhook_every: every so manieth wants to be told of its end, and so does each that kills.
        tenants: whose they are, one drawn for each.
    """
    kinds = [*mix, Kind.PLAIN]
    weights = [*mix.values(), 100 - sum(mix.values())]
    drawn = [random.choices(kinds, weights)[0] for _ in range(number - killers)]
    wishes = [
        Wish(
            key=f"wish-{index:05d}",
            tenant=random.choice(tenants),
            kind=kind,
            seed=random.randrange(1, 2**31 - 2000),
            # What is to be cancelled takes long enough to be caught in the middle.
            steps=25 if kind is Kind.CANCEL else random.randint(1, 6),
            images=1 + (random.random() < 0.1),
            copies=random.choice((1, 1, 1, 1, 3)),
        )
        for index, kind in enumerate(drawn)
    ]
    poison = [
        Wish(key=f"poison-{index}", tenant="alice", kind=Kind.KILLS, seed=index, steps=2, images=1)
        for index in range(killers)
    ]
    return [
        replace(wish, welcome=draw_welcome(random)) if wish.kind is Kind.KILLS or index % webhook_every == 0 else wish
        for index, wish in enumerate(_spread(wishes, poison))
    ]


def draw_welcome(random: Random) -> Sequence[Welcome]:
    """Draw how a webhook is met before it is taken: refused less often than it is tried, or for ever."""
    if random.random() < _GONE_SHARE:
        return (Welcome.IS_GONE,)
    return tuple(random.choices(_TROUBLES, k=random.choice((0, 0, 0, 1, 2, 3))))


def _spread(wishes: list[Wish], among: list[Wish]) -> list[Wish]:
    for index, wish in enumerate(among):
        wishes.insert((index + 1) * len(wishes) // (len(among) + 1), wish)
    return wishes


@cache
def reference() -> str:
    """Return a small picture as a data URI."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 40, 40)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
