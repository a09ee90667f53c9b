"""From a folder of released weights to the parts of a pipeline, streamed to the device one tensor at a time.

Everything is accounted for by the files' headers before the first value is read. Several models share all they can:
the encoders, the autoencoder, and of the transformer every weight that no LoRA touches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from models.flux.components import FluxComponents
from models.flux.lora import Lora, merge_lora, read_lora
from models.flux.style import StyleEncoder
from models.flux.text import TextEncoder, TextTower
from models.flux.transformer import UxoTransformer
from models.flux.vae import Autoencoder
from models.flux.weights import WeightsError
from models.flux.weights.accounts import PartReport, check_folder
from models.flux.weights.folder import Found, find
from models.flux.weights.layouts import Layouts
from models.flux.weights.networks import make
from models.flux.weights.stream import check_sum, digest_of, read_sums, stream
from models.flux.weights.tokenizers import TOKENIZERS, check_ids, tokenizer_files

#: Models that look at styles.
STYLED = frozenset({"uso"})


class Released:
    """A folder of weights that has been accounted for.

    Args:
        folder: as ``docs/weights.md`` lays it out.
        device: a torch device name.
        layouts: what the files hold; anything but the released sizes is for tests.
        dtype: of transformer, text encoders and projector; the autoencoder and SigLIP stay float32, as the authors'.
        read: hears the path in the folder and the SHA-256 of every file that was read.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str,
        layouts: Layouts | None = None,
        dtype: torch.dtype = torch.bfloat16,
        read: Callable[[str, str], None] = lambda _name, _digest: None,
    ) -> None:
        self._folder = folder
        self._device = torch.device(device)
        self._layouts = layouts or Layouts()
        self._dtype = dtype
        self._read = read
        self._sums = read_sums(folder)
        self._found: dict[str, Found] = {}

    def components(self, models: Sequence[str]) -> dict[str, FluxComponents]:
        """Load what these models need, on one base.

        Raises:
            WeightsError: naming the first file that is not what it should be.
        """
        for name in TOKENIZERS:
            self._hash(name)  # first: of a file that differs from its record that is said, not what it leads to
        reports = _refuse_problems(self._folder, tuple(models), self._layouts)
        self._found = {report.part: report.found for report in reports if report.found is not None}
        tokenizers = {name: self._tokenizer(name) for name in TOKENIZERS}  # first, for they are quickly read
        transformers = dict(self._transformers(models))
        autoencoder = Autoencoder(self._network("vae", torch.float32))
        text = self._text(tokenizers)
        style = self._style() if STYLED & set(models) else None
        return {
            model: FluxComponents(
                transformer=transformers[model],
                autoencoder=autoencoder,
                text=text,
                style=style if model in STYLED else None,
                device=self._device,
                dtype=self._dtype,
            )
            for model in models
        }

    def _transformers(self, models: Sequence[str]) -> Iterator[tuple[str, UxoTransformer]]:
        untouched = cast("UxoTransformer", self._network("transformer", self._dtype))
        for model in models:
            lora = read_lora(untouched, self._tensors(model))
            # The last model needs no copy: nobody reads the untouched weights any more.
            transformer = untouched if model == models[-1] else self._beside(untouched, lora)
            merge_lora(transformer, lora)
            yield model, transformer

    def _beside(self, transformer: UxoTransformer, lora: Lora) -> UxoTransformer:
        """Return a second transformer that shares every weight but those a LoRA touches."""
        twin = make("transformer", self._layouts.sizes)
        own = {f"{target}.weight" for target in lora}
        for name, parameter in transformer.named_parameters():
            _put(twin, name, parameter.clone() if name in own else parameter)
        return cast("UxoTransformer", twin.to(self._device))

    def _text(self, tokenizers: Mapping[str, Any]) -> TextEncoder:
        t5: Any = self._network("t5", self._dtype)
        clip: Any = self._network("clip", self._dtype)
        return TextEncoder(
            t5=TextTower(tokenizer=tokenizers["tokenizer_2"], network=t5, tokens=512),
            clip=TextTower(tokenizer=tokenizers["tokenizer"], network=clip, tokens=77),
        )

    def _hash(self, tokenizer: str) -> None:
        try:
            for path in tokenizer_files(self._folder, tokenizer):
                self._done(path, digest_of(path, progress=lambda _size: None))
        except OSError as error:
            raise WeightsError(f"{tokenizer} cannot be read: {error}") from error

    def _tokenizer(self, name: str) -> Any:
        place = self._folder / name
        try:
            tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # whatever transformers and tokenizers raise of what they cannot read
            raise WeightsError(f"{name} cannot be read as a tokenizer: {error}") from error
        check_ids(name, tokenizer.get_vocab().values(), name=name, sizes=self._layouts.sizes)
        return tokenizer

    def _style(self) -> StyleEncoder:
        siglip: Any = self._network("siglip", torch.float32)
        projector: Any = self._network("projector", self._dtype)
        return StyleEncoder(siglip=siglip, projector=projector)

    def _network(self, part: str, dtype: torch.dtype) -> Any:
        network = make(part, self._layouts.sizes)
        for name, tensor in self._placed(part):
            _put(network, name, self._own(tensor, dtype))
        assert not any(parameter.is_meta for parameter in network.parameters())  # noqa: S101 -- accounted for before
        return network.to(self._device)

    def _tensors(self, part: str) -> dict[str, Tensor]:
        return {name: self._own(tensor, tensor.dtype) for name, tensor in self._placed(part)}

    def _placed(self, part: str) -> Iterator[tuple[str, Tensor]]:
        found = self._found.get(part) or find(self._folder, part)
        layout = self._layouts.of(part, found.layout)
        for path in found.paths:
            entries = [entry for entry in found.entries if entry.path == path]
            for entry, values in stream(path, entries, pinned=self._device.type == "cuda", done=self._done):
                if entry.name in layout.shapes:
                    yield from layout.place(entry.name, values).items()

    def _own(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        # What is streamed lives until the next tensor; this one stays.
        return torch.empty(tensor.shape, dtype=dtype, device=self._device).copy_(tensor)

    def _done(self, path: Path, digest: str) -> None:
        name = path.relative_to(self._folder).as_posix()
        check_sum(self._sums, name, digest)
        self._read(name, digest)


def _refuse_problems(folder: Path, models: tuple[str, ...], layouts: Layouts) -> list[PartReport]:
    if not folder.is_dir():
        raise WeightsError(f"there is no folder {folder}")
    reports = check_folder(folder, models, layouts)
    problems = [problem for report in reports for problem in report.problems]
    if problems:
        more = f" (and {len(problems) - 1} more; uxo weights check shows all)" if len(problems) > 1 else ""
        raise WeightsError(problems[0] + more)
    return reports


def _put(network: nn.Module, name: str, tensor: Tensor) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, nn.Parameter(tensor, requires_grad=False))
