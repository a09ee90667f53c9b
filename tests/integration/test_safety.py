"""The safety checker as the settings put it together, with a real classifier."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from pathlib import Path

import pytest
from classifier_folder import write_classifier
from PIL import Image
from running_replica import decode_here, running
from solid_pipeline import SolidPipeline

from deployments.checking import Checker
from deployments.database.signals import StoreSignal
from deployments.delivery.sink import Sink
from deployments.outbound.client import GuardedClient
from deployments.outbound.references import ReferenceFetcher
from deployments.outbound.rules import Rules
from deployments.replica.doors import Doors
from deployments.replica.limits import Limits
from deployments.replica.replica import Replica
from deployments.settings import Settings
from deployments.tasks.store import TaskStore
from deployments.tasks.task import Task, TaskState
from models.engine import Engine
from models.loading import UnusableSafetyModel, load_checker
from models.request import GeneratedImage, Safety

COLOURS = ("black", "white", "red")
DRAWN = GeneratedImage(seed=7, image=Image.new("RGB", (40, 24), "red"))


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a classifier that flags whatever it sees."""
    return write_classifier(tmp_path_factory.mktemp("strict"), lean=100.0)


def opened(**settings: str) -> Checker:
    """Open the checker of some settings."""
    return Checker.open(Settings.model_validate(settings), read=lambda _file, _digest: None)


@pytest.mark.parametrize(
    ("rule", "safety", "colour"),
    [("dialect", Safety.TELL, (255, 0, 0)), ("dialect", Safety.COVER, (0, 0, 0)), ("always", Safety.SKIP, (0, 0, 0))],
)
async def test_the_settings_are_what_counts(
    strict: Path, rule: str, safety: Safety, colour: tuple[int, int, int]
) -> None:
    """A classifier that flags a picture has it told or covered, as the rule and the task say."""
    check = opened(safety_model=str(strict), safety_rule=rule)

    checked = await check(DRAWN, safety)

    assert (checked.is_unsafe, checked.image.getpixel((5, 5))) == (True, colour)


async def test_pictures_of_many_tasks_are_judged_as_alone(tmp_path: Path) -> None:
    """Verdicts belong to their pictures, however many come at once."""
    folder = str(write_classifier(tmp_path))
    classifier = load_checker(folder, labels=("nsfw",), threshold=1.0)
    likely = sorted(classifier.probability(Image.new("RGB", (16, 16), colour)) for colour in COLOURS)
    check = opened(safety_model=folder, safety_threshold=str((likely[0] + likely[-1]) / 2))
    pictures = [GeneratedImage(seed=seed, image=Image.new("RGB", (16, 16), COLOURS[seed % 3])) for seed in range(8)]

    alone = [await check(picture, Safety.TELL) for picture in pictures]
    together = await asyncio.gather(*(check(picture, Safety.TELL) for picture in pictures))

    assert [(each.seed, each.is_unsafe) for each in together] == [(each.seed, each.is_unsafe) for each in alone]
    assert {each.is_unsafe for each in alone} == {True, False}


def test_a_classifier_that_is_none_stops_the_start(tmp_path: Path) -> None:
    """What the variable names is said, and why it cannot be used."""
    with pytest.raises(UnusableSafetyModel, match=r"UXO_SAFETY_MODEL='.*' cannot be used: it cannot be loaded: "):
        opened(safety_model=str(tmp_path))


async def test_a_replica_sends_out_what_was_checked(
    strict: Path,
    store: TaskStore,
    signal: StoreSignal,
    sinks: Mapping[str, Sink],
    submit: Callable[..., Awaitable[Task]],
    until: Callable[..., Awaitable[Task]],
) -> None:
    """From claim to sink: a flagged picture that was to be covered lies there black, and its task says why."""
    doors = Doors(
        store=store,
        signal=signal,
        fetcher=ReferenceFetcher(GuardedClient(Rules())),
        decode=decode_here,
        sinks=sinks,
        check=opened(safety_model=str(strict)),
    )
    limits = Limits(capacity=1, lease_s=20.0)

    async with running(Replica("r1", engine=Engine({"uno": SolidPipeline()}), doors=doors, limits=limits)):
        covered = await until(await submit(safety=Safety.COVER, num_images=2), TaskState.SUCCEEDED)
        unseen = await until(await submit(safety=Safety.SKIP), TaskState.SUCCEEDED)

    assert [output.is_unsafe for output in (*covered.outputs, *unseen.outputs)] == [True, True, None]
    contents = [await sinks["inline"].read(output.value) for output in covered.outputs]
    assert all(Image.open(BytesIO(content)).convert("RGB").getextrema() == ((0, 0),) * 3 for content in contents)
