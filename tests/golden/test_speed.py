"""What may be chosen about speed gives the same picture up to rounding, and 8-bit weights nearly the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from deployments.replica.device_thread import DeviceThread
from models.catalog import CATALOG
from models.flux.group import FluxSample
from models.flux.quantising import FORMAT, Fp8Linear, quantise
from models.flux.speed import ATTENTION, compile_blocks, compiled, speed_up
from models.loading import TINY, load_pipelines
from models.options import SpeedOptions, UnusableChoice
from models.request import GenerationRequest, Reference, Role
from models.sample import Sample
from models.uno import UnoPipeline

if TYPE_CHECKING:
    from golden.conftest import Differences

#: Float32 on other kernels moves the tokens of a step by some 1e-6.
STEP_LIMIT = 2e-5
#: Of a step's velocity: 8 bits have a mantissa of three, so a product is off by some 4 %, and sums by less.
FP8_SHARE = 0.08


@pytest.fixture
def samples(uno: UnoPipeline) -> list[Sample]:
    """Prepare a picture with a reference, and one that is larger and has none."""
    return [*uno.prepare("one", _wish(96, Role.SUBJECT), [_picture()]), *uno.prepare("other", _wish(112), [])]


def _wish(width: int, *roles: Role) -> GenerationRequest:
    return GenerationRequest(
        model="uno",
        prompt="a cat",
        references=tuple(Reference(role=role, source="painted") for role in roles),
        width=width,
        height=64,
        num_inference_steps=2,
        guidance_scale=4.0,
        seed=7,
    )


def _picture() -> Image.Image:
    return Image.linear_gradient("L").convert("RGB")


def _step(uno: UnoPipeline, samples: list[Sample]) -> list[Tensor]:
    stepped = [each for sample in samples for each in uno.step([sample])]
    assert all(isinstance(each, FluxSample) for each in stepped)
    return [each.tokens for each in stepped if isinstance(each, FluxSample)]


def _largest(actual: list[Tensor], expected: list[Tensor]) -> Tensor:
    return torch.stack([(one - other).abs().max() for one, other in zip(actual, expected, strict=True)]).max()


@pytest.mark.parametrize("attention", ["auto", "flash", "math"])
def test_fused_layers(uno: UnoPipeline, samples: list[Sample], difference: Differences, attention: Any) -> None:
    """Layers put together, and attention computed in another way, take the same step."""
    plain = _step(uno, samples)

    speed_up(uno._parts.transformer, SpeedOptions(attention=attention))
    fused = _step(uno, samples)

    names = {name.rpartition(".")[2] for name, _ in uno._parts.transformer.transformer_blocks.named_modules()}
    assert {"to_qkv", "to_added_qkv"} <= names
    assert "to_q" not in names
    difference(f"step, fused, attention {attention}", _largest(fused, plain), torch.tensor(0.0), limit=STEP_LIMIT)


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        (SpeedOptions(attention="math"), STEP_LIMIT),
        (SpeedOptions(text="cpu"), 0.0),
        # Of velocities of about 2, times the difference of two sigmas.
        (SpeedOptions(precision="fp8"), 0.2),
    ],
)
def test_choices_reach_the_pipelines(difference: Differences, options: SpeedOptions, limit: float) -> None:
    """Pipelines are loaded with what was chosen, and step as they do without it, up to what each choice costs."""
    pipelines = [load_pipelines([CATALOG["uno"]], weights=TINY, device="cpu", options=each) for each in (None, options)]

    [usual], [chosen] = (each["uno"].step(each["uno"].prepare("r", _wish(96), [])) for each in pipelines)

    assert isinstance(usual, FluxSample)
    assert isinstance(chosen, FluxSample)
    difference(f"step, tiny, {options.precision}, {options.text}", chosen.tokens, usual.tokens, limit=limit)
    assert options.precision == "bf16" or not chosen.tokens.equal(usual.tokens)


def test_attention_that_the_device_has_not() -> None:
    """A way to attend that a CPU has not is refused when weights are loaded, with those that there are."""
    options = SpeedOptions(attention="cudnn")

    with pytest.raises(UnusableChoice, match=r"UXO_ATTENTION='cudnn' .* cpu .* choose of auto, flash, efficient, math"):
        load_pipelines([CATALOG["uno"]], weights=TINY, device="cpu", options=options)


def test_every_way_to_attend_has_a_name_of_diffusers() -> None:
    """Whatever may be chosen is known to diffusers."""
    from diffusers.models.attention_dispatch import AttentionBackendName  # noqa: PLC0415 -- this test's alone

    chosen = {name for name in ATTENTION.values() if name is not None}

    assert chosen <= {backend.value for backend in AttentionBackendName}


def test_one_graph_for_all_lengths(uno: UnoPipeline, samples: list[Sample], difference: Differences) -> None:
    """Compiled blocks take the same step; one graph serves all blocks of a kind, and few graphs every length.

    Only the graphs are made: what turns them into machine code takes minutes here.
    """
    plain, graphs = _step(uno, samples), Counter[str]()

    compile_blocks(uno._parts.transformer, backend=_counting(graphs))
    compiled = _step(uno, samples)
    first = graphs["made"]
    _step(uno, samples)

    difference("step, compiled", _largest(compiled, plain), torch.tensor(0.0), limit=STEP_LIMIT)
    assert 0 < first == graphs["made"] <= 12


def _counting(graphs: Counter[str]) -> Callable[..., Any]:
    def make(graph: Any, _inputs: object) -> Any:
        graphs["made"] += 1
        return graph.forward

    return make


async def test_there_is_room_for_more_graphs_than_torch_allows() -> None:
    """On the device's thread, which is not the one that compiled, more graphs come to be than torch's usual eight."""
    graphs, device = Counter[str](), DeviceThread()
    add = compiled(_add, backend=_counting(graphs))

    answers = [float(await device.call(add, torch.zeros(1), "x" * number)) for number in range(10)]

    device.close()
    assert answers == list(range(10))
    assert graphs["made"] == 10


def _add(rows: Tensor, kind: str) -> Tensor:
    return rows + len(kind)  # a graph for every kind


def test_8_bit_weights_stay_close(uno: UnoPipeline, samples: list[Sample]) -> None:
    """With 8-bit weights a step's direction is off by less than a twelfth of its size, and not by nothing."""
    transformer = uno._parts.transformer
    plain = _step(uno, samples)
    start = [sample.tokens for sample in samples if isinstance(sample, FluxSample)]

    speed_up(transformer, SpeedOptions(precision="fp8"))
    narrow = _step(uno, samples)

    for before, exact, lossy in zip(start, plain, narrow, strict=True):
        off = (lossy - exact).norm() / (exact - before).norm()
        assert 0 < off < FP8_SHARE


def test_which_layers_become_8_bit(uno: UnoPipeline) -> None:
    """Every layer that is applied to every token of a block, and none that modulates, embeds or puts out."""
    transformer = uno._parts.transformer

    speed_up(transformer, SpeedOptions(precision="fp8"))

    plain = {name for name, layer in transformer.named_modules() if type(layer) is nn.Linear}
    narrow = {name for name, layer in transformer.named_modules() if isinstance(layer, Fp8Linear)}
    assert all("norm" in name or "blocks" not in name for name in plain)
    assert narrow
    assert all("blocks" in name and "norm" not in name for name in narrow)
    assert {transformer.get_submodule(name).weight.dtype for name in narrow} == {FORMAT}


def test_rounding_to_8_bits_keeps_each_row() -> None:
    """A row's largest number becomes the format's largest, a row of nothing stays nothing, and none becomes NaN."""
    rows = torch.tensor([[0.1, 3.0, -6.0], [0.0, 0.0, 0.0], [1e30, 5e29, -1e30]])

    narrow, scale = quantise(rows)

    back = narrow.float() * scale
    assert narrow.float().abs().amax(dim=1).tolist() == [448.0, 0.0, 448.0]
    assert torch.allclose(back, rows, rtol=0.07)
