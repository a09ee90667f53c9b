"""The engine steps what is resident, in order, and no request's trouble is another's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from solid_pipeline import SolidPipeline

from models.engine import Engine, StepReport
from models.request import GeneratedImage, GenerationRequest

MakeRequest = Callable[..., GenerationRequest]


@pytest.fixture
def pipeline() -> SolidPipeline:
    """Return the pipeline that the engine drives."""
    return SolidPipeline()


@pytest.fixture(params=[1, 3])
def engine(request: pytest.FixtureRequest, pipeline: SolidPipeline) -> Engine:
    """Return an engine, once for single steps and once for groups."""
    return Engine({"uno": pipeline}, max_group=request.param)


def run_dry(engine: Engine) -> StepReport:
    """Step until idle; return all that finished or failed on the way."""
    finished: dict[str, Sequence[GeneratedImage]] = {}
    failed: dict[str, Exception] = {}
    progress: dict[str, int] = {}
    while not engine.is_idle:
        report = engine.step()
        finished |= report.finished
        failed |= report.failed
        progress |= report.progress
    return StepReport(finished=finished, failed=failed, progress=progress)


def seeds(finished: Mapping[str, Sequence[GeneratedImage]]) -> dict[str, list[int]]:
    """Return the seeds of every finished request's pictures."""
    return {request_id: [image.seed for image in images] for request_id, images in finished.items()}


def test_every_picture_of_a_request_comes_in_the_order_of_its_seeds(engine: Engine, make_request: MakeRequest) -> None:
    """A request for four pictures finishes once, with all four, numbered from its seed."""
    engine.admit("a", make_request(num_images=4, seed=40), [])

    report = run_dry(engine)

    assert seeds(report.finished) == {"a": [40, 41, 42, 43]}


def test_progress_counts_the_steps_of_all_pictures(engine: Engine, make_request: MakeRequest) -> None:
    """The last progress of a request is its pictures times their steps."""
    engine.admit("a", make_request(num_images=3, num_inference_steps=5), [])

    report = run_dry(engine)

    assert report.progress == {"a": 15}


def test_requests_of_other_lengths_step_beside_each_other(engine: Engine, make_request: MakeRequest) -> None:
    """Requests with other step counts, admitted at other times, all finish."""
    engine.admit("a", make_request(num_inference_steps=6), [])
    engine.step()
    engine.admit("b", make_request(num_inference_steps=2, seed=90), [])

    report = run_dry(engine)

    assert seeds(report.finished) == {"a": [7], "b": [90]}


def test_only_equal_shapes_share_a_step(pipeline: SolidPipeline, make_request: MakeRequest) -> None:
    """Samples of another size never step together, however much room the group has."""
    engine = Engine({"uno": pipeline}, max_group=8)
    engine.admit("a", make_request(num_images=2), [])
    engine.admit("b", make_request(width=512), [])

    run_dry(engine)

    assert all({key[0] for key in group} in ({"a"}, {"b"}) for group in pipeline.groups)
    assert max(len(group) for group in pipeline.groups) == 2


def test_a_failing_step_fails_its_request_alone(engine: Engine, make_request: MakeRequest) -> None:
    """One poisoned request in a group fails; its neighbours finish with all their steps."""
    engine.admit("a", make_request(seed=1), [])
    engine.admit("poison", make_request(prompt="break at step 2"), [])
    engine.admit("c", make_request(seed=3), [])

    report = run_dry(engine)

    assert seeds(report.finished) == {"a": [1], "c": [3]}
    assert list(report.failed) == ["poison"]


def test_a_failing_picture_fails_its_whole_request(engine: Engine, make_request: MakeRequest) -> None:
    """A request whose decoding fails is reported once, and nothing of it stays resident."""
    engine.admit("a", make_request(prompt="break at decode", num_images=2), [])

    report = run_dry(engine)

    assert report.finished == {}
    assert list(report.failed) == ["a"]


def test_evicted_requests_take_no_further_step(
    engine: Engine, pipeline: SolidPipeline, make_request: MakeRequest
) -> None:
    """After an eviction the engine is idle, and stepping it does nothing."""
    engine.admit("a", make_request(), [])
    engine.step()
    engine.evict("a")
    steps_before = len(pipeline.groups)

    report = engine.step()

    assert engine.is_idle
    assert report == StepReport()
    assert len(pipeline.groups) == steps_before


def test_evicting_a_stranger_changes_nothing(engine: Engine, make_request: MakeRequest) -> None:
    """An id that the engine does not hold may be evicted."""
    engine.admit("a", make_request(), [])

    engine.evict("b")

    assert seeds(run_dry(engine).finished) == {"a": [7]}


def test_it_says_how_full_it_is(engine: Engine, make_request: MakeRequest) -> None:
    """An engine prints as a sentence."""
    engine.admit("a", make_request(num_images=3), [])

    text = repr(engine)

    assert text == "<Engine [1 requests | 3 samples to step]>"


def test_a_lower_rank_overtakes(pipeline: SolidPipeline, make_request: MakeRequest) -> None:
    """What has a lower rank steps first, from the next step on; of one rank, the longest resident does."""
    engine = Engine({"uno": pipeline})
    engine.admit("flood", make_request(num_inference_steps=3), [], rank=5)
    engine.step()

    engine.admit("first", make_request(num_inference_steps=2), [], rank=0)
    engine.admit("second", make_request(num_inference_steps=1), [], rank=0)
    run_dry(engine)

    order = [request_id for [(request_id, _)] in pipeline.groups]
    assert order == ["flood", "first", "first", "second", "flood", "flood"]


def test_what_is_named_first_is_not_overtaken(pipeline: SolidPipeline, make_request: MakeRequest) -> None:
    """What a step is told to put first goes before a lower rank."""
    engine = Engine({"uno": pipeline})
    engine.admit("ending", make_request(num_inference_steps=2), [], rank=5)
    engine.admit("new", make_request(num_inference_steps=2), [], rank=0)

    for _ in range(4):
        engine.step(first=["ending"])

    order = [request_id for [(request_id, _)] in pipeline.groups]
    assert order == ["ending", "ending", "new", "new"]
