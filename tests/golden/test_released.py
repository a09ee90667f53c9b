"""A folder in the released layouts becomes pipelines, with the very numbers of its files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from weights_folder import BFL, DIFFUSERS, OTHERS, SMALL, cut, save, write_folder

from models.flux.bfl import load_bfl
from models.flux.lora import merge_lora, read_lora
from models.flux.transformer import UxoTransformer
from models.flux.weights import WeightsError
from models.flux.weights.layouts import Layouts
from models.flux.weights.released import Released
from models.flux.weights.stream import SUMS, digest_of, write_sums
from models.request import GenerationRequest, Reference, Role
from models.uno import UnoPipeline
from models.uso import UsoPipeline


@pytest.fixture(scope="module")
def layouts() -> Layouts:
    """Return the small layouts, made once."""
    return Layouts(SMALL)


@pytest.fixture(scope="module")
def bfl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a folder with Black Forest Labs' own two files; nobody changes it."""
    return write_folder(tmp_path_factory.mktemp("bfl"))


@pytest.fixture
def folder(bfl_folder: Path, tmp_path: Path) -> Path:
    """Copy the folder, to be changed."""
    return Path(shutil.copytree(bfl_folder, tmp_path / "weights"))


def _load(folder: Path, *models: str, layouts: Layouts, dtype: torch.dtype = torch.bfloat16) -> dict[str, Any]:
    return dict(Released(folder, device="cpu", layouts=layouts, dtype=dtype).components(models))


def _directly(folder: Path, model: str, *, dtype: torch.dtype) -> UxoTransformer:
    """Load the transformer by the path that the recorded numbers check."""
    transformer: UxoTransformer = UxoTransformer(**SMALL.transformer).to(dtype)
    load_bfl(transformer, load_file(folder / "flux1-dev.safetensors"))
    merge_lora(transformer, read_lora(transformer, load_file(folder / OTHERS[model][0])))
    return transformer


def _same(network: nn.Module, expected: Mapping[str, Tensor]) -> bool:
    state = network.state_dict()
    return state.keys() == expected.keys() and all(state[name].equal(tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_streamed_is_loaded_directly(bfl_folder: Path, layouts: Layouts, dtype: torch.dtype) -> None:
    """Streamed tensor by tensor, base and LoRA give the numbers of the checked conversion, bit for bit."""
    expected = _directly(bfl_folder, "uno", dtype=dtype).state_dict()

    loaded = _load(bfl_folder, "uno", layouts=layouts, dtype=dtype)["uno"]

    assert _same(loaded.transformer, expected)


def test_two_families_on_one_base(bfl_folder: Path, layouts: Layouts) -> None:
    """Both models get what each gets alone, and share what no LoRA touches."""
    loaded = _load(bfl_folder, "uno", "uso", layouts=layouts)

    for model in ("uno", "uso"):
        expected = _directly(bfl_folder, model, dtype=torch.bfloat16).state_dict()
        assert _same(loaded[model].transformer, expected)
    uno, uso = (dict(loaded[model].transformer.named_parameters()) for model in ("uno", "uso"))
    apart = {name for name, parameter in uno.items() if parameter.data_ptr() != uso[name].data_ptr()}
    assert len(apart) == 2 * 8 + 2 * 4
    assert loaded["uno"].text is loaded["uso"].text


def test_both_layouts_are_one_model(bfl_folder: Path, tmp_path: Path, layouts: Layouts) -> None:
    """The same values in diffusers' layout, cut into shards, make the same networks."""
    transformer = UxoTransformer(**SMALL.transformer).to(torch.bfloat16)
    load_bfl(transformer, load_file(bfl_folder / "flux1-dev.safetensors"))
    shutil.copytree(bfl_folder, tmp_path, dirs_exist_ok=True)
    place = tmp_path / DIFFUSERS["transformer"][0]
    save({name: tensor.contiguous() for name, tensor in transformer.state_dict().items()}, place)
    (tmp_path / BFL["transformer"][0]).unlink()
    cut(place, shards=3)

    loaded = _load(tmp_path, "uno", layouts=layouts)["uno"]

    assert _same(loaded.transformer, _directly(bfl_folder, "uno", dtype=torch.bfloat16).state_dict())


def test_what_stays_float32(bfl_folder: Path, layouts: Layouts) -> None:
    """The autoencoder and SigLIP compute in float32, everything else in bfloat16; nothing is left without values."""
    parts = _load(bfl_folder, "uso", layouts=layouts)["uso"]

    networks = {
        "vae": parts.autoencoder._network,
        "siglip": parts.style._siglip,
        "projector": parts.style._projector,
        "t5": parts.text._t5.network,
        "clip": parts.text._clip.network,
    }
    kept = {name for name, network in networks.items() if next(network.parameters()).dtype == torch.float32}
    assert kept == {"vae", "siglip"}
    assert not any(tensor.is_meta for network in networks.values() for tensor in network.buffers())
    assert networks["t5"].encoder.embed_tokens.weight is networks["t5"].shared.weight


@pytest.mark.parametrize("flux", [BFL, DIFFUSERS], ids=["bfl", "diffusers"])
def test_encoders_hold_the_files_numbers(flux: Any, tmp_path: Path, layouts: Layouts) -> None:
    """Names that the file and the network spell differently lead to the same numbers."""
    folder = write_folder(tmp_path, flux=flux)

    parts = _load(folder, "uso", layouts=layouts)["uso"]

    clip = load_file(folder / "text_encoder/model.safetensors")
    siglip = load_file(folder / "siglip/model.safetensors")
    t5 = load_file(folder / "text_encoder_2/model.safetensors")
    name = "encoder.layers.1.self_attn.q_proj.weight"
    assert parts.text._clip.network.state_dict()[name].equal(clip[f"text_model.{name}"])
    assert parts.style._siglip.state_dict()[name].equal(siglip[f"vision_model.{name}"])
    assert parts.text._t5.network.state_dict()["shared.weight"].equal(t5["shared.weight"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_picture_comes_out(bfl_folder: Path, layouts: Layouts, dtype: torch.dtype) -> None:
    """Both pipelines run from prompt and references to pixels, twice the same."""
    loaded = _load(bfl_folder, "uno", "uso", layouts=layouts, dtype=dtype)
    wishes = {
        UnoPipeline(loaded["uno"]): _wish("uno", Role.SUBJECT),
        UsoPipeline(loaded["uso"]): _wish("uso", Role.STYLE),
    }

    pictures = [[_draw(pipeline, wish) for _ in range(2)] for pipeline, wish in wishes.items()]

    assert all(first == second for first, second in pictures)
    assert pictures[0][0] != pictures[1][0]


def _wish(model: str, role: Role) -> GenerationRequest:
    return GenerationRequest(
        model=model,
        prompt="a b",
        references=(Reference(role=role, source=""),),
        width=64,
        height=48,
        num_inference_steps=2,
        guidance_scale=4.0,
        seed=7,
    )


def _draw(pipeline: Any, wish: GenerationRequest) -> bytes:
    samples = pipeline.prepare("one", wish, [Image.linear_gradient("L").convert("RGB")])
    for _ in range(wish.num_inference_steps):
        samples = pipeline.step(samples)
    return b"".join(picture.image.tobytes() for picture in pipeline.decode(samples))


def test_every_file_is_read_once(bfl_folder: Path, layouts: Layouts) -> None:
    """Every file that is needed is read to its end, and its digest told."""
    heard: list[tuple[str, str]] = []

    Released(bfl_folder, device="cpu", layouts=layouts, read=lambda *each: heard.append(each)).components(["uno"])

    names = {BFL["transformer"][0], BFL["vae"][0], *(OTHERS[part][0] for part in ("uno", "clip", "t5"))}
    for name in ("tokenizer", "tokenizer_2"):
        names |= {path.relative_to(bfl_folder).as_posix() for path in (bfl_folder / name).iterdir()}
    assert sorted(heard) == sorted((name, digest_of(bfl_folder / name, progress=_nothing)) for name in names)


def _nothing(_size: int) -> None:
    return None


@pytest.mark.parametrize(
    "place", [BFL["transformer"][0], OTHERS["uno"][0], OTHERS["siglip"][0], "tokenizer/tokenizer.json"]
)
def test_a_flipped_byte_is_found(folder: Path, layouts: Layouts, place: str) -> None:
    """A file that differs from what was recorded by one byte is refused by name, in whatever part of it."""
    digest = digest_of(folder / place, progress=_nothing)
    write_sums(folder, {place: digest})
    content = bytearray((folder / place).read_bytes())
    content[-5] ^= 1
    (folder / place).write_bytes(content)

    with pytest.raises(WeightsError, match=rf"{place} is not the file that {SUMS} records: expected {digest[:16]}"):
        _load(folder, "uno", "uso", layouts=layouts)
