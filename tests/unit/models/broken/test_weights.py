"""Every kind of file that is not what it should be is found by its headers, and named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from weights_folder import BOTH, cut, problems_of, shorten, swap, write_index

from models.flux.weights import WeightsError
from models.flux.weights.accounts import check_folder
from models.flux.weights.headers import parse_header, read_header
from models.flux.weights.layouts import Layouts
from models.flux.weights.released import Released
from models.flux.weights.stream import SUMS, read_sums, stream

BASE = "flux1-dev.safetensors"
VAE = "ae.safetensors"
CLIP = "text_encoder/model.safetensors"
T5 = "text_encoder_2/model.safetensors"
UNO = "uno/dit_lora.safetensors"
USO = "uso_flux_v1.0/dit_lora.safetensors"
PROJECTOR = "uso_flux_v1.0/projector.safetensors"


def _rename(path: Path, name: str, other: str) -> None:
    tensors = load_file(path)
    tensors[other] = tensors.pop(name)
    save_file(tensors, path)


def _cast(path: Path, dtype: torch.dtype) -> None:
    save_file({name: tensor.to(dtype) for name, tensor in load_file(path).items()}, path)


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def _make_pickle(path: Path) -> None:
    torch.save(load_file(path), path.with_name("pytorch_model.bin"))
    path.unlink()


def _widen(path: Path, name: str) -> None:
    tensors = load_file(path)
    save_file(tensors | {name: torch.cat((tensors[name], tensors[name]))}, path)


def _without_guidance(path: Path) -> None:
    save_file({name: tensor for name, tensor in load_file(path).items() if "guidance_in" not in name}, path)


#: What is done to a folder, and what is said of it.
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda folder: (folder / T5).unlink(), r"^missing: text_encoder_2/model\.safetensors$"),
    "no base": (lambda folder: (folder / BASE).unlink(), r"^missing: transformer/.* or flux1-dev\.safetensors or "),
    "empty": (lambda folder: (folder / CLIP).write_bytes(b""), r"^model\.safetensors is not a readable safetensors"),
    "text": (lambda folder: (folder / VAE).write_text("version https://git-lfs"), r"^ae\.safetensors is not a read"),
    "truncated": (lambda folder: shorten(folder / BASE), r"^flux1-dev\.safetensors is truncated: it has \d+ bytes"),
    "longer": (lambda folder: _append(folder / UNO), r"^dit_lora\.safetensors goes on after its last tensor"),
    "pickle": (
        lambda folder: _make_pickle(folder / CLIP),
        r"^text_encoder/pytorch_model\.bin is a pickle, .*only safe",
    ),
    "foreign": (
        lambda folder: save_file({"model.diffusion_model.x": torch.ones(1)}, folder / BASE),
        r"^flux1-dev\.safetensors is another model's: it lacks .* and holds model\.diffusion_model\.x$",
    ),
    "another part": (
        lambda folder: shutil.copy(folder / VAE, folder / BASE),
        r"^flux1-dev\.safetensors is another model's: it holds the tensors of vae \(bfl\)$",
    ),
    "encoders swapped": (
        lambda folder: swap(folder / CLIP, folder / T5),
        r"^model\.safetensors is another model's: it holds the tensors of t5 \(transformers\)$",
    ),
    "LoRAs swapped": (
        lambda folder: swap(folder / UNO, folder / USO),
        r"^dit_lora\.safetensors: double_blocks\S+: expected \(4, 32\), found \(2, 32\) \(\d+ more like it\)$",
    ),
    "no guidance": (
        lambda folder: _without_guidance(folder / BASE),
        r"^flux1-dev\.safetensors: missing tensors: guidance_in",
    ),
    "unknown": (
        lambda folder: _rename(folder / PROJECTOR, "feature_embedder.mid_projection.bias", "feature_embedder.odd"),
        r"^projector\.safetensors: unknown tensors: feature_embedder\.odd$",
    ),
    "missing": (
        lambda folder: _rename(folder / BASE, "txt_in.bias", "txt_in.offset"),
        r"^flux1-dev\.safetensors: missing tensors: txt_in\.bias$",
    ),
    "misshapen": (
        lambda folder: _widen(folder / VAE, "decoder.conv_in.bias"),
        r"^ae\.safetensors: decoder\.conv_in\.bias: expected \(16,\), found \(32,\)$",
    ),
    "narrow numbers": (
        lambda folder: _cast(folder / BASE, torch.float8_e4m3fn),
        r"^flux1-dev\.safetensors: \S+: expected BF16 or F16 or F32, found F8_E4M3 \(\d+ more like it\)$",
    ),
    "no tokenizer": (
        lambda folder: shutil.rmtree(folder / "tokenizer_2"),
        r"^missing: tokenizer_2/tokenizer\.json$",
    ),
}


def test_nothing_is_wrong_with_a_whole_folder(whole: Path, layouts: Layouts) -> None:
    """A folder without a fault has every part, and what nobody needs is counted."""
    reports = {report.part: report for report in check_folder(whole, BOTH, layouts)}

    assert [report.problems for report in reports.values() if report.problems] == []
    assert {part: report.spare for part, report in reports.items() if report.spare} == {"siglip": 2}
    assert sorted(reports) == sorted(
        ["transformer", "vae", "clip", "t5", "uno", "uso", "projector", "siglip", "tokenizer", "tokenizer_2"]
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(folder: Path, layouts: Layouts, fault: str) -> None:
    """One sentence says which file is wrong and how; loading says the same and reads no value."""
    break_it, sentence = FAULTS[fault]
    break_it(folder)

    problems = problems_of(folder, layouts)

    assert [problem for problem in problems if re.search(sentence, problem)], problems
    with pytest.raises(WeightsError):
        Released(folder, device="cpu", layouts=layouts).components(BOTH)


def test_files_of_another_size(whole: Path) -> None:
    """No file of another size than asked for passes, released sizes being what is asked for where nothing is said."""
    refused = {report.part for report in check_folder(whole, BOTH, Layouts()) if report.problems}

    assert refused == {"transformer", "vae", "clip", "t5", "uno", "uso", "projector", "siglip"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda shards: shards[1].unlink(), r"^model-00002-of-00003\.safetensors is missing, .*index\.json names it$"),
        (lambda shards: shutil.copy(shards[0], shards[1]), r"model-00002-of-00003\.safetensors lacks \S+, which"),
        (
            lambda shards: save_file(load_file(shards[2]) | {"odd": torch.ones(1)}, shards[2]),
            r"^model-00003-of-00003\.safetensors holds what .*index\.json does not have there: odd$",
        ),
        (
            lambda shards: write_index(shards[0].with_name("model.safetensors"), {"a": "../../etc/x.safetensors"}),
            r"^model\.safetensors\.index\.json names '\.\./\.\./etc/x\.safetensors'; shards are safetensors files",
        ),
        (
            lambda shards: write_index(shards[0].with_name("model.safetensors"), {"a": "pytorch_model.bin"}),
            r"names 'pytorch_model\.bin'; shards are safetensors",
        ),
        (
            lambda shards: shards[0].with_name("model.safetensors.index.json").write_text("[]"),
            r"^model\.safetensors\.index\.json is no index of shards",
        ),
        (
            lambda shards: shards[0].with_name("model.safetensors.index.json").write_text('{"a": ' + "[" * 100_000),
            r"^model\.safetensors\.index\.json is no index of shards: ",
        ),
        (
            lambda shards: shards[0].with_name("model.safetensors.index.json").write_bytes(b" " * 10_000_001),
            r"^model\.safetensors\.index\.json is no index of shards: it has more than 10000000 bytes",
        ),
        (
            lambda shards: write_index(shards[0].with_name("model.safetensors"), {"a": "b" * 90_000}),
            r"^model\.safetensors\.index\.json names 'b{,100}…'; shards are safetensors files",
        ),
    ],
    ids=["absent", "swapped", "stranger", "outside", "pickle", "no index", "nested", "huge", "long name"],
)
def test_shards_are_what_their_index_says(
    folder: Path, layouts: Layouts, change: Callable[[list[Path]], object], sentence: str
) -> None:
    """Shards and their index agree on every tensor, or the one that does not is named."""
    change(cut(folder / T5, shards=3))

    problems = problems_of(folder, layouts)

    assert [problem for problem in problems if re.search(sentence, problem)], problems


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, r"a takes 4 bytes, which F32 \(2,\) does not"),
        ({"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}, "a has numbers of an unknown format, F4"),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}, r"a takes -4 bytes"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, "a overlaps or leaves a gap"),
        ({"dtype": "F32"}, "a is not described"),
        ("a", "a is not described"),
    ],
)
def test_headers_that_contradict_themselves(tmp_path: Path, entry: object, sentence: str) -> None:
    """A header is believed in nothing that its own numbers contradict."""
    header = json.dumps({"a": entry}).encode()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))

    with pytest.raises(WeightsError, match=sentence):
        read_header(path)


def test_a_huge_header_is_not_read(tmp_path: Path) -> None:
    """A length that the file does not have is refused before anything of that length is asked for."""
    path = tmp_path / "huge.safetensors"
    path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")

    with pytest.raises(WeightsError, match="its header does not fit into it"):
        read_header(path)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (
            (
                '{"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "b": {"dtype": "U8", "shape": [4], '
                '"data_offsets": [0, 4]}}'
            ),
            "b overlaps or leaves a gap",
        ),
        (
            (
                '{"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}, "a": {"dtype": "U8", "shape": [2], '
                '"data_offsets": [2, 4]}}'
            ),
            "its header names a twice",
        ),
        ('{"a": {"dtype": "U8", "shape": [4.9], "data_offsets": [0, 4]}}', "a is not described"),
        ('{"a": {"dtype": "U8", "shape": ["4"], "data_offsets": [0, 4]}}', "a is not described"),
        ('{"a": {"dtype": "U8", "shape": [true, 4], "data_offsets": [0, 4]}}', "a is not described"),
        ('{"a": {"dtype": "U8", "shape": [-2, -2], "data_offsets": [0, 4]}}', r"a takes 4 bytes, which U8 \(-2, -2\)"),
        ('{"a": {"dtype": "U8", "shape": [4], "data_offsets": [-4, 0]}}', "a takes 4 bytes"),
        ('{"a": {"dtype": "U8", "shape": [1e400], "data_offsets": [0, 4]}}', "a is not described"),
        ('{"a": ' + "[" * 100_000, "is not a readable safetensors file"),
        ('{"a": {"dtype": "U8", "shape": [' + "9" * 5000 + '], "data_offsets": [0, 4]}}', "is not a readable"),
    ],
    ids=["overlap", "twice", "fraction", "text", "truth", "negative", "before", "infinite", "nested", "long number"],
)
def test_hostile_headers(tmp_path: Path, written: str, sentence: str) -> None:
    """A header that was made to confuse is refused in a sentence, and nothing else comes of it."""
    header = written.encode()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))

    with pytest.raises(WeightsError, match=sentence):
        read_header(path)


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "offsets", "sentence"),
    [
        ("a", "U8", ["9"] * 200_000, [0, 4], "a has 200000 sides, "),
        ("a", "U8", ["9" * 4000] * 4, [0, 4], "a has a side or an offset that no file reaches"),
        ("a", "U8", ["4"], [0, "9" * 4000], "a has a side or an offset that no file reaches"),
        ("a", "U8", ["4"], ["-" + "9" * 4000, 4], "a has a side or an offset that no file reaches"),
        ("a" * 90_000, "U8", ["5"], [0, 4], "takes 4 bytes, which U8 "),
        ("a", "F" * 90_000, ["4"], [0, 4], "has numbers of an unknown format, F"),
    ],
    ids=["many sides", "long sides", "long end", "long start", "long name", "long format"],
)
def test_headers_that_are_long_to_work_out(
    tmp_path: Path, name: str, dtype: str, shape: list[str], offsets: list[object], sentence: str
) -> None:
    """Numbers that no tensor has are refused before anything is worked out from them, in a short sentence."""
    start, end = offsets
    header = f'{{"{name}": {{"dtype": "{dtype}", "shape": [{",".join(shape)}], "data_offsets": [{start},{end}]}}}}'

    with pytest.raises(WeightsError, match=sentence) as refusal:
        parse_header(tmp_path / "odd.safetensors", header.encode(), size_bytes=len(header) + 12)

    assert len(str(refusal.value)) < 300


def test_names_without_end_are_cut(tmp_path: Path) -> None:
    """A name of megabytes that stands twice in a header is told by its beginning."""
    header = '{"NAME":0,"NAME":0}'.replace("NAME", "a" * 90_000)

    with pytest.raises(WeightsError, match=r"its header names a+… twice") as refusal:
        parse_header(tmp_path / "odd.safetensors", header.encode(), size_bytes=0)

    assert len(str(refusal.value)) < 300


def test_a_long_header_that_names_its_end_twice(tmp_path: Path) -> None:
    """A header of megabytes whose last name alone is doubled is refused by it, at once and not after hours."""
    names = [*(f"{index:x}" for index in range(200_000)), "end", "end"]
    header = "{" + ",".join(f'"{name}":0' for name in names) + "}"

    with pytest.raises(WeightsError, match="its header names end twice"):
        parse_header(tmp_path / "odd.safetensors", header.encode(), size_bytes=0)


@pytest.mark.parametrize("other", [CLIP, "longer", "renamed"])
def test_a_file_that_was_swapped_after_it_was_checked(whole: Path, tmp_path: Path, other: str) -> None:
    """A file that is another one by the time that its values are read is refused before any of them is."""
    path = tmp_path / "model.safetensors"
    shutil.copy(whole / T5, path)
    entries = read_header(path)
    swap: dict[str, Callable[[], object]] = {
        CLIP: lambda: shutil.copy(whole / CLIP, path),
        "longer": lambda: _append(path),
        "renamed": lambda: path.write_bytes(path.read_bytes().replace(b"layer.0", b"layer.9", 1)),
    }
    swap[other]()

    with pytest.raises(WeightsError, match=r"^model\.safetensors "):
        next(stream(path, entries, pinned=False, done=lambda *_: None))


def test_a_file_that_shrinks_while_it_is_read(whole: Path, tmp_path: Path) -> None:
    """A file that ends early after its header was read is named, and nothing is made of what is missing."""
    path = tmp_path / "model.safetensors"
    shutil.copy(whole / T5, path)
    reading = stream(path, read_header(path), pinned=False, done=lambda *_: None)
    next(reading)
    path.write_bytes(path.read_bytes()[:-5000])

    with pytest.raises(WeightsError, match=r"model\.safetensors became shorter while it was read"):
        list(reading)


def test_sums_that_are_none(tmp_path: Path) -> None:
    """A record of digests that cannot be read is refused, not taken for none."""
    (tmp_path / SUMS).write_text("hello\n")

    with pytest.raises(WeightsError, match=r"SHA256SUMS is not what sha256sum writes: 'hello'"):
        read_sums(tmp_path)


def test_sums_that_are_no_text(tmp_path: Path) -> None:
    """A record of digests that is not even text is refused in a sentence."""
    (tmp_path / SUMS).write_bytes(b"\xff\xfe\x00")

    with pytest.raises(WeightsError, match=r"^SHA256SUMS is not what sha256sum writes: it is no UTF-8 text$"):
        read_sums(tmp_path)
