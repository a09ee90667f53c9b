"""What released weights ask of a GPU is told from the true counts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from models.catalog import CATALOG
from models.flux.weights.layouts import Layouts
from models.options import SpeedOptions
from models.plan import (
    CONTEXT_BYTES,
    GPUS,
    MATRICES,
    PARAMETERS,
    TABLES_GPU,
    TOUCHED,
    WORKING_BYTES,
    Gpu,
    fits,
    largest_bytes,
    largest_request,
    loading_bytes,
    memory,
    request_room,
    timings,
)
from models.request import InvalidRequest

UNO, USO, BOTH = frozenset({"uno"}), frozenset({"uso"}), frozenset(CATALOG)


def test_counts_are_those_of_the_networks() -> None:
    """Every part has as many parameters as the released layouts have, and so have the matrices of the LoRAs."""
    layouts = Layouts()
    names = {"transformer": "diffusers", "vae": "bfl", "projector": "projector"}

    counts = {part: _count(layouts.of(part, names.get(part, "transformers")).shapes) for part in PARAMETERS}
    up_and_down = layouts.of("uno", "lora").shapes

    assert counts == PARAMETERS
    downs = {name: shape for name, shape in up_and_down.items() if ".down." in name}
    ups = {name.replace(".up.", ".down."): shape for name, shape in up_and_down.items() if ".up." in name}
    assert sum(ups[name][0] * down[1] for name, down in downs.items()) == TOUCHED


def _count(shapes: object) -> int:
    assert isinstance(shapes, dict)
    return sum(math.prod(shape) for shape in shapes.values())


@pytest.mark.parametrize(("models", "gigabytes"), [(UNO, 34), (USO, 36), (BOTH, 47)])
def test_weights_are_counted_once(models: frozenset[str], gigabytes: int) -> None:
    """Models on one device share what they can."""
    assert round(sum(memory(models).values()) / 1e9) == gigabytes


def test_what_fits() -> None:
    """Both families fit into 80 GB, one of them into 48 GB, and none into 24 GB."""
    fitting = {name: [fits(models, gpu) for models in (UNO, USO, BOTH)] for name, gpu in GPUS.items()}

    assert fitting["h100"] == [True, True, True]
    assert fitting["l40s"] == [True, True, False]
    assert fitting["a10g"] == [False, False, False]


def test_8_bit_matrices_are_those_of_the_blocks() -> None:
    """As many numbers become half as large as there are in the matrices that are applied to every token."""
    shapes = Layouts().of("transformer", "diffusers").shapes
    in_blocks = {name: shape for name, shape in shapes.items() if "_blocks." in name and ".norm" not in name}

    assert sum(math.prod(shape) for shape in in_blocks.values() if len(shape) == 2) == MATRICES


def test_choices_that_save_memory() -> None:
    """8-bit weights and T5 on the CPU make room on the device; 8 bits save less for a second family."""
    narrow, apart = SpeedOptions(precision="fp8"), SpeedOptions(precision="fp8", text="cpu")

    assert memory(UNO)["transformer"] - memory(UNO, narrow)["transformer"] == MATRICES
    assert "t5" not in memory(UNO, apart)
    assert sum(memory(BOTH, narrow).values()) < sum(memory(BOTH).values())


def test_what_fits_once_loaded_has_to_be_loaded() -> None:
    """What makes room does so after loading: 24 GB never hold UNO whole, 40 GB do."""
    apart = SpeedOptions(precision="fp8", text="cpu")
    small, middling = GPUS["a10g"], GPUS["a100-40"]

    assert sum(memory(UNO, apart).values()) + WORKING_BYTES < small.memory_bytes < loading_bytes(UNO)
    assert [fits(UNO, gpu, apart) for gpu in (small, middling)] == [False, True]


def test_what_a_process_takes_by_itself_is_counted() -> None:
    """A GPU that holds everything but what CUDA takes of it holds too little, while loading and while working."""
    apart = SpeedOptions(precision="fp8", text="cpu")
    loading = replace(GPUS["l40s"], memory_bytes=sum(memory(BOTH).values()) + CONTEXT_BYTES)
    working = replace(GPUS["h100"], memory_bytes=sum(memory(BOTH).values()) + WORKING_BYTES + CONTEXT_BYTES)

    rooms = [fits(BOTH, loading, apart), fits(BOTH, working)]
    narrow = [fits(BOTH, _less(loading), apart), fits(BOTH, _less(working)), fits(BOTH, GPUS["l40s"], apart)]

    assert (rooms, narrow) == ([True, True], [False, False, False])


def _less(gpu: Gpu) -> Gpu:
    return replace(gpu, memory_bytes=gpu.memory_bytes - 1)


def test_what_is_left_for_a_request() -> None:
    """A large GPU holds whatever may be asked of it; of one with 40 GB the weights of one model leave too little."""
    large, small = (request_room(UNO, GPUS[name]) for name in ("h100", "a100-40"))

    assert small < largest_bytes(UNO) < large


@pytest.mark.parametrize("name", CATALOG)
def test_nothing_that_is_accepted_takes_more_than_the_largest(name: str) -> None:
    """The largest request is one that the model accepts, and none of its numbers can be raised."""
    request = largest_request(CATALOG[name])

    CATALOG[name].check(request)
    for field in ("width", "height", "num_images", "num_inference_steps"):
        with pytest.raises(InvalidRequest):
            CATALOG[name].check(replace(request, **{field: getattr(request, field) + 1}))


def test_slower_gpus_take_longer() -> None:
    """Times grow with size, with references, and as the GPU multiplies more slowly."""
    times = {(each.side, each.references): each for each in timings(GPUS[TABLES_GPU])}
    slower = {(each.side, each.references): each for each in timings(GPUS["l40s"])}

    assert times[512, 0].step_ms < times[512, 1].step_ms < times[512, 4].step_ms < times[1024, 4].step_ms
    assert all(slower[key].picture_s > times[key].picture_s for key in times)
