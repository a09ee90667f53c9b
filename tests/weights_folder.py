"""A folder of weights as they are released, with small random values: real names, layouts and number formats."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTokenizer, T5Tokenizer

from models.flux.vae import AutoencoderSizes
from models.flux.weights.accounts import check_folder
from models.flux.weights.layouts import Layouts
from models.flux.weights.networks import Sizes
from models.tiny.seeded import normal

#: The models whose parts a whole folder has.
BOTH = ("uno", "uso")
#: Small enough for a test; every count that a layout hangs on is above 1.
SMALL = Sizes(
    transformer=MappingProxyType(
        {
            "guidance_embeds": True,
            "num_layers": 2,
            "num_single_layers": 2,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 24,
            "pooled_projection_dim": 20,
            "axes_dims_rope": (4, 6, 6),
        }
    ),
    autoencoder=AutoencoderSizes(channels=(8, 8, 16, 16), groups=4),
    clip=MappingProxyType(
        {
            "vocab_size": 8,
            "hidden_size": 20,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "eos_token_id": 1,
        }
    ),
    t5=MappingProxyType({"vocab_size": 8, "d_model": 24, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}),
    siglip=MappingProxyType(
        {
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 20,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        }
    ),
    style_tokens=3,
    ranks=MappingProxyType({"uno": 4, "uso": 2}),
)
#: Of parts: the place in the folder, the layout, and the format of the numbers.
Places: TypeAlias = Mapping[str, tuple[str, str, torch.dtype]]
#: Where each part lies, which layout it has there, and its numbers' format.
DIFFUSERS = MappingProxyType(
    {
        "transformer": ("transformer/diffusion_pytorch_model.safetensors", "diffusers", torch.bfloat16),
        "vae": ("vae/diffusion_pytorch_model.safetensors", "diffusers", torch.bfloat16),
    }
)
BFL = MappingProxyType(
    {
        "transformer": ("flux1-dev.safetensors", "bfl", torch.bfloat16),
        "vae": ("ae.safetensors", "bfl", torch.float32),
    }
)
OTHERS = MappingProxyType(
    {
        "clip": ("text_encoder/model.safetensors", "transformers", torch.bfloat16),
        "t5": ("text_encoder_2/model.safetensors", "transformers", torch.bfloat16),
        "uno": ("uno/dit_lora.safetensors", "lora", torch.bfloat16),
        "uso": ("uso_flux_v1.0/dit_lora.safetensors", "lora", torch.float32),
        "projector": ("uso_flux_v1.0/projector.safetensors", "projector", torch.bfloat16),
        "siglip": ("siglip/model.safetensors", "transformers", torch.float32),
    }
)
#: What the published SigLIP file holds besides.
TEXT_SIDE = MappingProxyType({"text_model.head.bias": torch.ones(3), "logit_scale": torch.ones(1)})


def write_folder(folder: Path, *, sizes: Sizes = SMALL, flux: Places = BFL) -> Path:
    """Write every part and both tokenizers."""
    layouts = Layouts(sizes)
    for part, (place, layout, dtype) in {**flux, **OTHERS}.items():
        tensors = random_tensors(layouts, part, layout, dtype=dtype)
        save(tensors | (dict(TEXT_SIDE) if part == "siglip" else {}), folder / place)
    write_tokenizers(folder)
    return folder


def random_tensors(layouts: Layouts, part: str, layout: str, *, dtype: torch.dtype) -> dict[str, Tensor]:
    """Draw what a file of this layout holds; values hang on the part and the name alone."""
    shapes = layouts.of(part, layout).shapes
    return {name: (0.2 * normal(f"{part}.{name}", *shape)).to(dtype) for name, shape in shapes.items()}


def save(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write one file and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), path)


def write_hollow(folder: Path, *, flux: Places = BFL) -> Path:
    """Write a folder of full-size files that have headers and a hole where values would be: no disk, no values."""
    layouts = Layouts()
    for part, (place, layout, dtype) in {**flux, **OTHERS}.items():
        hollow(folder / place, layouts.of(part, layout).shapes, dtype=dtype)
    write_tokenizers(folder)
    return folder


def hollow(path: Path, shapes: Mapping[str, tuple[int, ...]], *, dtype: torch.dtype) -> None:
    """Write one such file."""
    name, end, header = {torch.bfloat16: "BF16", torch.float32: "F32"}[dtype], 0, {}
    for key, shape in shapes.items():
        start, end = end, end + math.prod(shape) * dtype.itemsize
        header[key] = {"dtype": name, "shape": shape, "data_offsets": [start, end]}
    written = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(written).to_bytes(8, "little") + written)
        file.truncate(8 + len(written) + end)


def write_tokenizers(folder: Path) -> None:
    """Write two tokenizers of eight tokens each, in transformers' own form."""
    clip = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "b</w>": 3, "a": 4, "b": 5}
    t5 = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), ("a", -1.0), ("b", -1.0)]
    CLIPTokenizer(vocab=clip, merges=[]).save_pretrained(folder / "tokenizer")
    T5Tokenizer(vocab=t5, extra_ids=0).save_pretrained(folder / "tokenizer_2")


def cut(path: Path, *, shards: int) -> list[Path]:
    """Cut a file into shards with an index, as published checkpoints are; the file itself goes away."""
    tensors = load_file(path)
    names = list(tensors)
    files = [f"{path.stem}-{number + 1:05}-of-{shards:05}.safetensors" for number in range(shards)]
    places = {name: files[index * shards // len(names)] for index, name in enumerate(names)}
    for file in files:
        save({name: tensors[name] for name in names if places[name] == file}, path.with_name(file))
    path.unlink()
    write_index(path, places)
    return [path.with_name(file) for file in files]


def write_index(path: Path, places: Mapping[str, str]) -> None:
    """Write the index of a checkpoint in shards."""
    path.with_name(f"{path.name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": dict(places)}))


def without(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Leave some tensors out."""
    gone = set(names)
    return {name: tensor for name, tensor in tensors.items() if name not in gone}


def problems_of(folder: Path, layouts: Layouts) -> list[str]:
    """Return what is wrong with a folder for both models."""
    return [problem for report in check_folder(folder, BOTH, layouts) for problem in report.problems]


def swap(one: Path, other: Path) -> None:
    """Let two files or folders have each other's name."""
    aside = one.with_suffix(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def shorten(path: Path) -> None:
    """Lose the end of a file, as a download that was cut off."""
    path.write_bytes(path.read_bytes()[:-3])
