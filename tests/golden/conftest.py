"""What the golden tests share: recorded tensors, comparisons that leave a trace, and the table of what was found."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from golden_table import Measured, remember
from safetensors.torch import load_file
from torch import Tensor
from transformers import SiglipVisionConfig, SiglipVisionModel

from models.flux.bfl import load_bfl
from models.flux.components import FluxComponents
from models.flux.lora import merge_lora, read_lora
from models.flux.siglip import load_siglip
from models.flux.style import StyleEncoder, StyleProjector
from models.flux.text import TextEncoder, TextFeatures
from models.flux.transformer import Sinusoid, UxoTransformer
from models.flux.vae import Autoencoder, AutoencoderSizes
from models.flux.vae import load_bfl as load_vae
from models.flux.weights import load_exactly
from models.uno import UnoPipeline
from models.uso import UsoPipeline

FOLDER = Path(__file__).parent

#: Share of bytes of a picture that may be one grey level off: values that sit on a truncation edge.
EDGE_SHARE = 1e-4
#: How near a whole grey level a value must be to sit on such an edge; decoders agree to 6e-6 of 2, or 4e-4 levels.
EDGE_LEVELS = 1e-3


class Differences:
    """Compares with recorded values and remembers how far off each comparison was."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request

    def __call__(self, group: str, actual: Tensor, expected: Tensor, *, limit: float = 0.0) -> None:
        """Record the largest absolute difference under ``group`` and fail when it exceeds ``limit``; 0 means equal."""
        assert actual.shape == expected.shape, f"{group}: {tuple(actual.shape)} is not {tuple(expected.shape)}"
        largest = float((actual.double() - expected.double()).abs().max()) if actual.numel() else 0.0
        remember(self._request, Measured(group=group, largest=largest, limit=limit))
        assert largest <= limit, f"{group}: off by {largest:.3g}, limit {limit:.3g}"

    def picture(self, group: str, actual: Tensor, expected: Tensor, *, decoded: Tensor | None = None) -> None:
        """Compare uint8 pictures: at most one grey level off, and that in less than 0.01 % of the bytes.

        With the recorded ``decoded`` values in [-1, 1], (channels, height, width), the share is not asked for: a byte
        may then be off only where the recorded value itself stands on a truncation edge.
        """
        assert actual.dtype == expected.dtype == torch.uint8
        self(group, actual, expected, limit=1.0)
        differs = actual != expected
        if decoded is None:
            share = float(differs.double().mean())
            assert share < EDGE_SHARE, f"{group}: {share:.4%} of the bytes differ"
        else:
            levels = 127.5 * (decoded.permute(1, 2, 0).double() + 1)
            to_edge = (levels - levels.round()).abs()[differs]
            assert not (to_edge > EDGE_LEVELS).any(), f"{group}: a byte differs off a truncation edge"


@pytest.fixture
def difference(request: pytest.FixtureRequest) -> Differences:
    """Compare and record; the terminal summary lists the largest difference of each group."""
    return Differences(request)


Golden: TypeAlias = Callable[[str], dict[str, Tensor]]


@pytest.fixture(scope="session")
def golden() -> Golden:
    """Load a recorded set of tensors by its file name without ending."""
    return lambda name: load_file(FOLDER / f"{name}.safetensors")


@pytest.fixture(scope="session")
def golden_json() -> Callable[[str], Any]:
    """Load a recorded JSON document by its file name without ending."""
    return lambda name: json.loads((FOLDER / f"{name}.json").read_text())


@pytest.fixture
def blank_transformer(golden_json: Callable[[str], Any]) -> UxoTransformer:
    """Build the recorded configuration's transformer with weights nobody chose."""
    config = golden_json("config")["transformer"]
    transformer: UxoTransformer = UxoTransformer(
        in_channels=config["in_channels"],
        num_layers=config["depth"],
        num_single_layers=config["depth_single_blocks"],
        attention_head_dim=config["hidden_size"] // config["num_heads"],
        num_attention_heads=config["num_heads"],
        joint_attention_dim=config["context_in_dim"],
        pooled_projection_dim=config["vec_in_dim"],
        guidance_embeds=config["guidance_embed"],
        axes_dims_rope=tuple(config["axes_dim"]),
    )
    return transformer


@pytest.fixture
def transformer(blank_transformer: UxoTransformer, golden: Golden) -> UxoTransformer:
    """Build the transformer with the recorded base weights and no LoRA."""
    load_bfl(blank_transformer, golden("base_bfl"))
    blank_transformer.time_text_embed.time_proj = RecordedSinusoid()
    return blank_transformer


class RecordedSinusoid(Sinusoid):
    """The embedding as the recording machine computed it.

    Its float32 exponential rounded two of 128 frequencies to the wrong neighbour (by 0.52 units); at a guidance of 4
    this alone moves a forward by 5e-5. With the two put right, ours agree with the recorded embeddings bit for bit.
    """

    def frequencies(self, device: torch.device) -> Tensor:
        """Move frequencies 12 and 106 one unit up."""
        correct = super().frequencies(device)
        one_up = correct.nextafter(torch.ones_like(correct))
        misrounded = torch.isin(torch.arange(128, device=device), torch.tensor([12, 106], device=device))
        return torch.where(misrounded, one_up, correct)


@pytest.fixture
def autoencoder(golden: Golden, golden_json: Callable[[str], Any]) -> Autoencoder:
    """Build the recorded autoencoder."""
    config = golden_json("config")["vae"]
    channels = tuple(config["ch"] * factor for factor in config["ch_mult"])
    return load_vae(golden("vae_bfl"), AutoencoderSizes(channels=channels, blocks=config["num_res_blocks"]))


@pytest.fixture
def style_encoder(golden: Golden, golden_json: Callable[[str], Any]) -> StyleEncoder:
    """Build the recorded SigLIP tower and projector."""
    config = golden_json("config")
    tower = SiglipVisionModel(SiglipVisionConfig(**config["siglip"]))
    load_siglip(tower, golden("siglip_vision"))
    projector = StyleProjector(
        siglip_tokens=config["projector"]["siglip_token_nums"],
        siglip_width=config["projector"]["siglip_token_dims"],
        style_tokens=config["projector"]["style_token_nums"],
        hidden=config["transformer"]["hidden_size"],
    )
    load_exactly(projector, golden("uso_projector"))
    return StyleEncoder(siglip=tower, projector=projector)


#: Recorded cases from pictures to picture; each name is also the prompt that stands for the case's text features.
END_TO_END = ("uno_end_to_end_1ref", "uno_end_to_end_2refs", "uso_end_to_end")


class TextWithoutTowers(TextEncoder):
    """Text features without T5 and CLIP: a recorded case's where the prompt is its name, else drawn from the prompt."""

    def __init__(self, golden: Golden) -> None:
        self._golden = golden

    def encode(self, prompts: Sequence[str]) -> TextFeatures:
        """Give each prompt (16, 32) features and 24 pooled ones."""
        each = [self._encode(prompt) for prompt in prompts]
        return TextFeatures(
            features=torch.cat([one.features for one in each]), pooled=torch.cat([one.pooled for one in each])
        )

    def _encode(self, prompt: str) -> TextFeatures:
        if prompt in END_TO_END:
            case = self._golden(prompt)
            return TextFeatures(features=case["txt"], pooled=case["vec"])
        generator = torch.Generator().manual_seed(zlib.crc32(prompt.encode()))
        drawn = torch.randn(1, 16, 32, generator=generator), torch.randn(1, 24, generator=generator)
        return TextFeatures(features=drawn[0], pooled=drawn[1])


@pytest.fixture
def parts(transformer: UxoTransformer, autoencoder: Autoencoder, golden: Golden) -> FluxComponents:
    """Gather the recorded parts, without LoRA and without styles."""
    return FluxComponents(
        transformer=transformer,
        autoencoder=autoencoder,
        text=TextWithoutTowers(golden),
        style=None,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


@pytest.fixture
def uno(parts: FluxComponents, golden: Golden) -> UnoPipeline:
    """Build UNO from the recorded parts."""
    merge_lora(parts.transformer, read_lora(parts.transformer, golden("uno_lora")))
    return UnoPipeline(parts)


@pytest.fixture
def uso(parts: FluxComponents, style_encoder: StyleEncoder, golden: Golden) -> UsoPipeline:
    """Build USO from the recorded parts."""
    merge_lora(parts.transformer, read_lora(parts.transformer, golden("uso_lora")))
    return UsoPipeline(replace(parts, style=style_encoder))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute on one thread: how a sum is cut over threads changes its last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
