"""The engine steps what is resident, in order, and no request's trouble is another's."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

import psutil
import pytest
from PIL import Image
from solid_pipeline import SolidPipeline, SolidSample

from models.cost import cost_table, resident_bytes
from models.engine import Engine
from models.pipeline import DeviceBroken, OutOfMemory
from models.policy import MARGIN
from models.report import Preview, StepReport
from models.request import GeneratedImage, GenerationRequest
from models.resident import Stage, Standing, shared_part
from models.sample import Sample, ShapeKey
from models.sharing import Sharing

MakeRequest = Callable[..., GenerationRequest]
#: The shape of what ``make_request`` makes.
SMALL = ShapeKey(model="uno", target_tokens=256 * 256, reference_tokens=0, styles=0)


@pytest.fixture
def pipeline() -> SolidPipeline:
    """Return the pipeline that the engine drives."""
    return SolidPipeline()


@pytest.fixture(params=[1, 3])
def engine(request: pytest.FixtureRequest, pipeline: SolidPipeline) -> Engine:
    """Return an engine, once for single steps and once for groups."""
    return Engine({"uno": pipeline}, sharing=Sharing(request.param))


def run_dry(engine: Engine) -> StepReport:
    """Step until idle; return all that finished or failed on the way."""
    finished: dict[str, Sequence[GeneratedImage]] = {}
    failed: dict[str, Exception] = {}
    progress: dict[str, int] = {}
    for report in reports_until_idle(engine):
        finished |= report.finished
        failed |= report.failed
        progress |= report.progress
    return StepReport(finished=finished, failed=failed, progress=progress)


def reports_until_idle(engine: Engine) -> Iterator[StepReport]:
    """Step until idle; return what every step reported."""
    while not engine.is_idle:
        yield engine.step()


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
    engine = Engine({"uno": pipeline}, sharing=Sharing(8))
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


def test_strangers_share_where_it_pays_by_the_table_that_is_given(
    pipeline: SolidPipeline, make_request: MakeRequest
) -> None:
    """By a table of steps that cost the same whatever is in them strangers share; where all is paid by row, never."""
    together = replace(cost_table(), step_ms=1000.0, row_ms=0.0, kilotoken_ms=0.0, megapair_ms=0.0)
    apart = replace(together, step_ms=0.0, row_ms=1000.0)

    for costs in (together, apart):
        engine = Engine({"uno": pipeline}, sharing=Sharing(2), costs=costs, shared=partial(shared_part, costs=costs))
        for number in range(int(MARGIN)):
            engine.admit(str(number), make_request(num_inference_steps=1), [])
        run_dry(engine)

    assert [len(group) for group in pipeline.groups] == [2, *[1] * int(MARGIN - 2), *[1] * int(MARGIN)]


def test_where_the_time_goes_is_reported(pipeline: SolidPipeline, make_request: MakeRequest) -> None:
    """By a clock that moves a second with each look, every stage of a request lasts as long as it was seen to."""
    engine = Engine({"uno": pipeline}, clock=map(float, count()).__next__)
    engine.admit("a", make_request(num_images=2, num_inference_steps=3), [])

    reports = [engine.step() for _ in range(6)]

    stages = {stage: stretch.seconds for stage, stretch in reports[-1].stretches["a"].items()}
    assert stages == {Stage.PREPARING: 1, Stage.STEPPING: 6, Stage.DECODING: 2}
    assert [report.timed.gap_s for report in reports if report.timed] == [None, 2, 2, 4, 2, 2]
    assert [report.decode_s for report in reports] == [None, None, 1, None, None, 1]


def test_the_device_is_paid_for_once(make_request: MakeRequest) -> None:
    """By a clock that moves a second with each look, a step is shared by its samples, and a decoding is its own."""
    engine = Engine({"uno": SolidPipeline()}, sharing=Sharing(3), clock=map(float, count()).__next__)
    engine.admit("two", make_request(num_images=2, num_inference_steps=3), [])
    engine.admit("one", make_request(num_inference_steps=3), [])

    reports = [engine.step() for _ in range(5)]

    done = {name: stages for report in reports for name, stages in report.stretches.items()}
    shares = {name: [stages[stage].share_s for stage in Stage] for name, stages in done.items()}
    assert shares == {"two": pytest.approx([1, 2, 2]), "one": pytest.approx([1, 1, 1])}
    assert {name: stages[Stage.STEPPING].seconds for name, stages in done.items()} == {"two": 3, "one": 3}


def test_a_decoding_has_the_time_of_the_step_before_it(make_request: MakeRequest) -> None:
    """Both are one call to the device, so what is known of the step holds until the call ends, and no longer."""

    class Asking(SolidPipeline):
        def decode(self, samples: Sequence[Sample]) -> list[GeneratedImage]:
            asked.append(engine.usual_s)
            return super().decode(samples)

    asked: list[float] = []
    engine = Engine({"uno": Asking()}, clock=map(float, count()).__next__)
    engine.admit("a", make_request(num_inference_steps=2), [])

    run_dry(engine)

    assert asked == [1.0]
    assert engine.usual_s == 0


def test_there_is_no_gap_while_nobody_waits(engine: Engine, make_request: MakeRequest) -> None:
    """The first step after a rest follows none."""
    engine.admit("a", make_request(num_inference_steps=1), [])
    run_dry(engine)
    engine.admit("b", make_request(num_inference_steps=1), [])

    report = engine.step()

    assert report.timed is not None
    assert report.timed.gap_s is None


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
    """What has a lower rank steps first, from the next step on; of one rank, what has less left does."""
    engine = Engine({"uno": pipeline})
    engine.admit("flood", make_request(num_inference_steps=3), [], standing=Standing(rank=5))
    engine.step()

    engine.admit("first", make_request(num_inference_steps=2), [])
    engine.admit("second", make_request(num_inference_steps=1), [])
    run_dry(engine)

    order = [request_id for [(request_id, _)] in pipeline.groups]
    assert order == ["flood", "second", "first", "first", "flood", "flood"]


def test_what_is_named_first_is_not_overtaken(pipeline: SolidPipeline, make_request: MakeRequest) -> None:
    """What a step is told to put first goes before a lower rank."""
    engine = Engine({"uno": pipeline})
    engine.admit("ending", make_request(num_inference_steps=2), [], standing=Standing(rank=5))
    engine.admit("new", make_request(num_inference_steps=2), [])

    for _ in range(4):
        engine.step(first=["ending"])

    order = [request_id for [(request_id, _)] in pipeline.groups]
    assert order == ["ending", "ending", "new", "new"]


class TroubledPipeline(SolidPipeline):
    """Has room for two of one group, and breaks for good where a prompt says so."""

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Refuse larger groups, break, or step."""
        prompts = [sample.prompt for sample in group if isinstance(sample, SolidSample)]
        if "break the device" in prompts:
            raise DeviceBroken
        if len(group) > 2:
            self.groups.append([])
            raise OutOfMemory
        return super().step(group)


class Ticks:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now_s


class SlowPipeline(SolidPipeline):
    """Takes a second of a clock for every token, and notes what the engine thought that a step would take."""

    def __init__(self, clock: Ticks) -> None:
        super().__init__()
        self._clock = clock
        self.engine = Engine({"uno": self}, clock=clock)
        self.usual_s: list[tuple[int, float]] = []

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Let the time go by."""
        tokens = group[0].shape.target_tokens
        self.usual_s.append((tokens, self.engine.usual_s))
        self._clock.now_s += tokens
        return super().step(group)


def test_what_is_usual_is_a_matter_of_the_shape(make_request: MakeRequest) -> None:
    """While a step is under way the engine tells what steps of its shape have taken, however long others take."""
    pipeline = SlowPipeline(Ticks())
    for name, side in (("a", 128), ("b", 512), ("c", 128)):
        pipeline.engine.admit(name, make_request(width=side, height=side, num_inference_steps=2), [])
        run_dry(pipeline.engine)

    told = pipeline.usual_s

    assert [tokens for tokens, _ in told] == [128**2] * 2 + [512**2] * 2 + [128**2] * 2
    assert (told[0], told[1], told[3:]) == ((128**2, 0), (128**2, 128**2), [(512**2, 512**2)] + [(128**2, 128**2)] * 2)
    assert told[2][1] > 0
    assert pipeline.engine.usual_s == 0


def test_what_does_not_fit_together_steps_in_smaller_groups(make_request: MakeRequest) -> None:
    """Without memory for a group, its halves step, nobody is lost, and no group of that shape is as large again."""
    pipeline = TroubledPipeline()
    engine = Engine({"uno": pipeline}, sharing=Sharing(4))
    engine.admit("a", make_request(num_images=4, num_inference_steps=3, seed=40), [])

    report = run_dry(engine)

    assert seeds(report.finished) == {"a": [40, 41, 42, 43]}
    assert [len(group) for group in pipeline.groups].count(0) == 1


class FullPipeline(SolidPipeline):
    """Has no memory for what its prompt names, ``prepare``, ``step`` or ``decode``, so many times as it is told."""

    def __init__(self, *, times: int) -> None:
        super().__init__()
        self.times = times
        self.half_done: list[weakref.ref[Ticks]] = []

    def prepare(self, request_id: str, request: GenerationRequest, images: Sequence[Image.Image]) -> list[Sample]:
        """Run out of memory, or prepare."""
        self._fill("prepare", request.prompt)
        return super().prepare(request_id, request, images)

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Run out of memory, or step."""
        self._fill("step", *(sample.prompt for sample in group if isinstance(sample, SolidSample)))
        return super().step(group)

    def decode(self, samples: Sequence[Sample]) -> list[GeneratedImage]:
        """Run out of memory, or decode."""
        self._fill("decode", *(sample.prompt for sample in samples if isinstance(sample, SolidSample)))
        return super().decode(samples)

    def _fill(self, call: str, *prompts: str) -> None:
        if call in prompts and self.times:
            self.times -= 1
            half_done = Ticks()
            self.half_done.append(weakref.ref(half_done))
            raise OutOfMemory(repr(half_done))


@pytest.mark.parametrize("call", ["prepare", "step", "decode"])
def test_what_finds_no_memory_alone_is_tried_once_more(make_request: MakeRequest, call: str) -> None:
    """A call that cannot be made smaller is made again, and when there is memory for it then nobody notices."""
    engine = Engine({"uno": FullPipeline(times=1)})
    engine.admit("a", make_request(prompt=call), [])

    report = run_dry(engine)

    assert seeds(report.finished) == {"a": [7]}


@pytest.mark.parametrize("call", ["step", "decode"])
def test_what_finds_no_memory_beside_others_waits_until_it_is_alone(make_request: MakeRequest, call: str) -> None:
    """What others hold is no request's fault: it goes on once they have ended, and nobody is let in before it."""
    pipeline = FullPipeline(times=2)
    engine = Engine({"uno": pipeline})
    engine.admit("a", make_request(prompt=call, num_inference_steps=1), [])
    engine.admit("b", make_request(num_inference_steps=9), [])
    while pipeline.times:
        assert not engine.step().failed
    engine.admit("c", make_request(), [])

    ends = list(reports_until_idle(engine))

    assert [name for report in ends for name in report.finished] == ["b", "a", "c"]
    assert not any(report.failed for report in ends)


def test_pictures_that_share_a_call_find_no_memory_together(make_request: MakeRequest) -> None:
    """Where a call of two is halved, the second's want is of the same turn as the first's, and no failure either."""
    engine = Engine({"uno": FullPipeline(times=5)}, sharing=Sharing(2))
    engine.admit("a", make_request(prompt="step", num_images=2), [])
    engine.admit("b", make_request(), [], standing=Standing(rank=1))

    report = run_dry(engine)

    assert seeds(report.finished) == {"a": [7, 8], "b": [7]}


@pytest.mark.parametrize("call", ["step", "decode"])
def test_of_those_that_want_all_memory_each_gets_its_turn(make_request: MakeRequest, call: str) -> None:
    """Two that both found no memory beside the other do not wait for each other for ever."""
    engine = Engine({"uno": FullPipeline(times=4)})
    for name in ("a", "b"):
        engine.admit(name, make_request(prompt=call), [])

    report = run_dry(engine)

    assert seeds(report.finished) == {"a": [7], "b": [7]}


@pytest.mark.parametrize("call", ["step", "decode"])
def test_what_finds_no_memory_alone_either_fails_alone(make_request: MakeRequest, call: str) -> None:
    """A request for which there is no memory when all others have ended fails with that, and they went on.

    Nothing that was half done outlives it, though its error is kept.
    """
    pipeline = FullPipeline(times=4)
    engine = Engine({"uno": pipeline})
    engine.admit("a", make_request(prompt=call), [])
    engine.admit("b", make_request(seed=9), [])

    report = run_dry(engine)

    assert seeds(report.finished) == {"b": [9]}
    assert isinstance(report.failed["a"], OutOfMemory)
    assert [each() for each in pipeline.half_done] == [None] * 4


def test_a_lost_device_is_nobodys_fault(make_request: MakeRequest) -> None:
    """When the device is broken no sample is blamed: the step raises, and everything stays as it was."""
    engine = Engine({"uno": TroubledPipeline()}, sharing=Sharing(4))
    engine.admit("a", make_request(), [])
    engine.admit("b", make_request(prompt="break the device"), [])

    with pytest.raises(DeviceBroken):
        engine.step()

    assert repr(engine) == "<Engine [2 requests | 2 samples to step]>"


def test_a_step_waits_for_one_decode_at_most(pipeline: SolidPipeline, make_request: MakeRequest) -> None:
    """Four pictures that are denoised together are decoded one a turn, and who steps meanwhile steps every turn."""
    engine = Engine({"uno": pipeline}, sharing=Sharing(4))
    engine.admit("together", make_request(num_images=4, num_inference_steps=1), [])
    engine.admit("other", make_request(width=512, num_inference_steps=9), [])

    reports = [engine.step() for _ in range(4)]

    assert [list(report.finished) for report in reports] == [[], [], [], ["together"]]
    assert [len(group) for group in pipeline.groups] == [4, 1, 1, 1]


def test_previews_come_every_so_many_steps(pipeline: SolidPipeline, make_request: MakeRequest) -> None:
    """Whoever asks for one every two steps sees every picture twice in five steps; nobody else sees any."""
    engine = Engine({"uno": pipeline}, sharing=Sharing(2))
    engine.admit("a", make_request(num_images=2, num_inference_steps=5), [], standing=Standing(preview_every=2))
    engine.admit("b", make_request(width=512, num_inference_steps=5), [])

    seen: list[Preview] = []
    while not engine.is_idle:
        report = engine.step()
        assert report.previews.keys() <= {"a"}
        seen += report.previews.get("a", ())

    assert sorted((each.index, each.steps_done) for each in seen) == [(0, 2), (0, 4), (1, 2), (1, 4)]
    assert all(each.image.getpixel((0, 0)) == (each.steps_done, 0, 0) for each in seen)


def test_a_preview_that_fails_costs_no_picture(engine: Engine, make_request: MakeRequest) -> None:
    """A request whose previews cannot be made finishes as if it had not asked for any."""
    engine.admit("a", make_request(prompt="break at preview"), [], standing=Standing(preview_every=1))

    report = run_dry(engine)

    assert seeds(report.finished) == {"a": [7]}
    assert report.failed == {}


def test_what_memory_has_no_room_for_waits(make_request: MakeRequest) -> None:
    """A request beyond the bound is parked, and prepared once another has ended; one alone is never too large."""
    engine = Engine({"uno": SolidPipeline()}, max_bytes=1)
    engine.admit("a", make_request(seed=1, num_inference_steps=2), [])
    engine.admit("b", make_request(seed=2), [])
    engine.admit("c", make_request(seed=3), [], standing=Standing(rank=-1))
    assert repr(engine) == "<Engine [1 requests | 1 samples to step | 2 parked]>"

    engine.step()
    engine.step()
    engine.step()
    report = run_dry(engine)

    assert list(report.finished) == ["c", "b"]
    assert engine.resident_bytes == 0


def test_what_is_parked_can_be_evicted_or_fail(make_request: MakeRequest) -> None:
    """Evicting takes a request off the waiting ones too, and one that cannot be prepared later is reported then."""
    engine = Engine({"uno": SolidPipeline()}, max_bytes=1)
    engine.admit("a", make_request(seed=1), [])
    engine.admit("gone", make_request(), [])
    engine.admit("bad", make_request(model="uno", prompt="break at prepare"), [])

    engine.evict("gone")
    report = run_dry(engine)

    assert list(report.finished) == ["a"]
    assert list(report.failed) == ["bad"]


def test_what_has_waited_longer_goes_first(pipeline: SolidPipeline, make_request: MakeRequest) -> None:
    """Of two equal requests of two tenants, the one that was asked for earlier steps first, whenever it came here."""
    engine = Engine({"uno": pipeline}, clock=Ticks())
    engine.admit("later", make_request(), [], standing=Standing(tenant="alice", waited_s=0.1))
    engine.admit("earlier", make_request(), [], standing=Standing(tenant="bob", waited_s=0.2))

    run_dry(engine)

    order = [request_id for [(request_id, _)] in pipeline.groups]
    assert order == ["earlier"] * 4 + ["later"] * 4


def test_a_tenants_second_request_lets_a_strangers_first_by(pipeline: SolidPipeline, make_request: MakeRequest) -> None:
    """What one tenant asks for counts as asked one after the other, so a stranger need not wait for all of it."""
    clock = Ticks()
    engine = Engine({"uno": pipeline}, clock=clock)
    for name in ("flood 1", "flood 2"):
        engine.admit(name, make_request(num_inference_steps=2), [], standing=Standing(tenant="flood"))
    clock.now_s = 0.001
    engine.admit("polite", make_request(num_inference_steps=2), [], standing=Standing(tenant="polite"))

    run_dry(engine)

    order = [request_id for [(request_id, _)] in pipeline.groups]
    assert order == ["flood 1"] * 2 + ["polite"] * 2 + ["flood 2"] * 2


def test_memory_is_flat_over_2000_requests_and_cancels(make_request: MakeRequest) -> None:
    """Whether requests end, fail, wait for memory or are cancelled, 1,000 more leave no object and no memory behind.

    Memory is what the process has resident after the first 500 and after the last: 4 MB are allowed for what Python's
    and the C library's own pools do, 2.7 kB for each request.
    """
    pipeline = SolidPipeline()
    engine = Engine({"uno": pipeline}, sharing=Sharing(2), max_bytes=resident_bytes(make_request()) * 3)
    objects, resident = [], []
    for quarter in range(4):
        for number in range(quarter * 500, quarter * 500 + 500):
            prompt = ("a cat", "break at step 1", "break at decode", "a cat")[number % 4]
            standing = Standing(rank=number % 3, tenant=f"tenant {number % 40}")
            wish = make_request(prompt=prompt, seed=number, width=16 * (8 + number % 5), num_inference_steps=2)
            engine.admit(str(number), wish, [], standing=standing)
            engine.step()
            engine.evict(str(number - number % 3))
        run_dry(engine)
        pipeline.groups.clear()
        gc.collect()
        objects.append(len(gc.get_objects()))
        resident.append(psutil.Process().memory_info().rss)

    assert objects[-1] - objects[1] < 100
    assert resident[-1] - resident[0] < 4 << 20


@pytest.mark.parametrize(
    ("max_group", "proven"), [(1, None), (3, None), (4, None), (4, {}), (4, {SMALL: 2}), (4, {SMALL: 4})]
)
def test_every_good_member_of_500_groups_succeeds(
    make_request: MakeRequest, max_group: int, proven: Mapping[ShapeKey, int] | None
) -> None:
    """Whichever member of a group is bad, at whatever step, the others end with the pictures that they make alone."""
    for number in range(500):
        engine = Engine({"uno": SolidPipeline()}, sharing=Sharing(max_group, proven=proven))
        place, step = number % 4, number // 4 % 3
        for member in range(4):
            prompt = f"break at step {step}" if member == place else "a cat"
            engine.admit(str(member), make_request(seed=member, prompt=prompt), [])

        report = run_dry(engine)

        assert list(report.failed) == [str(place)]
        assert seeds(report.finished) == {str(member): [member] for member in range(4) if member != place}
        for name, [picture] in report.finished.items():
            assert picture.image.getpixel((0, 0)) == (int(name), 0, 99)


class UnstablePipeline(SolidPipeline):
    """Fails at one of the three calls for every request but a trial, or for a trial too."""

    def __init__(self, *, fails_at: str, is_broken: bool) -> None:
        super().__init__()
        self._fails_at = fails_at
        self._is_broken = is_broken

    def prepare(self, request_id: str, request: GenerationRequest, images: Sequence[Image.Image]) -> list[Sample]:
        """Fail, or prepare."""
        self._fail("prepare", request_id)
        return super().prepare(request_id, request, images)

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Fail, or step."""
        self._fail("step", group[0].request_id)
        return super().step(group)

    def decode(self, samples: Sequence[Sample]) -> list[GeneratedImage]:
        """Fail, or decode."""
        self._fail("decode", samples[0].request_id)
        return super().decode(samples)

    def _fail(self, call: str, request_id: str) -> None:
        if call == self._fails_at and (self._is_broken or request_id != "trial"):
            raise RuntimeError(call)


@pytest.mark.parametrize("call", ["step", "decode"])
def test_a_failure_is_the_requests_where_a_made_up_picture_is_drawn(make_request: MakeRequest, call: str) -> None:
    """A device that draws something else after a failure is sound, so the request has failed."""
    engine = Engine({"uno": UnstablePipeline(fails_at=call, is_broken=False)})
    engine.admit("a", make_request(), [])

    report = run_dry(engine)

    assert repr(report.failed["a"]) == repr(RuntimeError(call))


class DyingPipeline(SolidPipeline):
    """Refuses groups, steps one sample, and then fails at whatever it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self._is_dead = False

    def step(self, group: Sequence[Sample]) -> list[Sample]:
        """Step the first that comes alone."""
        if self._is_dead or len(group) > 1:
            raise RuntimeError("no")
        self._is_dead = True
        return super().step(group)


def test_a_neighbour_who_stepped_before_proves_nothing(make_request: MakeRequest) -> None:
    """A device that dies in the middle of a group is lost, and fails none of those who came after."""
    engine = Engine({"uno": DyingPipeline()}, sharing=Sharing(2))

    with pytest.raises(DeviceBroken):
        draw_two(engine, make_request())


class SmallPipeline(SolidPipeline):
    """Has no memory for requests, or not even for a trial."""

    def __init__(self, *, spare_pixels: int) -> None:
        super().__init__()
        self._spare_pixels = spare_pixels

    def prepare(self, request_id: str, request: GenerationRequest, images: Sequence[Image.Image]) -> list[Sample]:
        """Prepare what is small enough."""
        if request.width * request.height > self._spare_pixels:
            raise OutOfMemory
        return super().prepare(request_id, request, images)


def test_a_lone_request_that_is_too_large_fails_alone(make_request: MakeRequest) -> None:
    """Where a made-up picture has room, it was the request."""
    with pytest.raises(OutOfMemory):
        Engine({"uno": SmallPipeline(spare_pixels=128 * 128)}).admit("a", make_request(), [])


def test_a_device_without_memory_for_anything_is_lost(make_request: MakeRequest) -> None:
    """Where nothing is resident and the smallest picture finds no memory, no request is to blame."""
    with pytest.raises(DeviceBroken, match="no memory for the smallest picture"):
        Engine({"uno": SmallPipeline(spare_pixels=0)}).admit("a", make_request(), [])


def draw_two(engine: Engine, request: GenerationRequest) -> None:
    """Draw a request twice, as ``a`` and as ``b``."""
    for name in ("a", "b"):
        engine.admit(name, request, [])
    run_dry(engine)


@pytest.mark.parametrize("call", ["prepare", "step", "decode"])
def test_a_failure_is_the_devices_where_nothing_is_drawn(make_request: MakeRequest, call: str) -> None:
    """A device that cannot draw a made-up picture either is lost; no request fails, and the suspects are named."""
    engine = Engine({"uno": UnstablePipeline(fails_at=call, is_broken=True)}, sharing=Sharing(2))

    with pytest.raises(DeviceBroken, match="a made-up picture fails as well") as lost:
        draw_two(engine, make_request(num_inference_steps=1))

    assert lost.value.suspects == ({"a", "b"} if call == "step" else {"a"})
