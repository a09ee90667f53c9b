"""Tokenizers that are broken, bring code, or belong to another network are found before they are asked for a token."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from weights_folder import BOTH, problems_of, shorten, swap

from models.flux.weights import WeightsError
from models.flux.weights.json_file import MAX_JSON_BYTES
from models.flux.weights.layouts import Layouts
from models.flux.weights.released import Released

#: Loads a folder of small weights in a process of its own, whose terminal somebody may type at.
LOAD = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from weights_folder import SMALL
from models.flux.weights import WeightsError
from models.flux.weights.layouts import Layouts
from models.flux.weights.released import Released
try:
    Released(Path(sys.argv[1]), device="cpu", layouts=Layouts(SMALL)).components(["uno"])
except WeightsError as error:
    print(error)
"""


def _add_tokens(path: Path, *, count: int) -> None:
    written = json.loads(path.read_text())
    written["model"]["vocab"] += [[f"odd{number}", -3.0] for number in range(count)]
    path.write_text(json.dumps(written))


def _add_token(path: Path, *, number: int) -> None:
    written = json.loads(path.read_text())
    written["added_tokens"].append(written["added_tokens"][0] | {"id": number, "content": "odd"})
    path.write_text(json.dumps(written))


def _cut_in_two(folder: Path, *, merges: str, **more: int) -> None:
    """Write a tokenizer as OpenAI first published CLIP's, and so does FLUX.1-dev: a vocabulary and its merges."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.json").write_text(json.dumps(vocabulary | {"ab</w>": 6} | more))
    (folder / "merges.txt").write_text(merges)
    (folder / "tokenizer.json").unlink()


#: What is done to a folder, and what is said of it.
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "tokenizers swapped": (
        lambda folder: swap(folder / "tokenizer", folder / "tokenizer_2"),
        r"^tokenizer/tokenizer\.json is another network's: its vocabulary is of the kind Unigram, not BPE$",
    ),
    "tokenizer of a pointer": (
        lambda folder: (folder / "tokenizer/tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\n"),
        r"^tokenizer/tokenizer\.json is no tokenizer: Expecting value",
    ),
    "empty tokenizer": (
        lambda folder: (folder / "tokenizer_2/tokenizer.json").write_bytes(b""),
        r"^tokenizer_2/tokenizer\.json is no tokenizer: Expecting value",
    ),
    "cut tokenizer": (
        lambda folder: shorten(folder / "tokenizer_2/tokenizer.json"),
        r"^tokenizer_2/tokenizer\.json is no tokenizer: ",
    ),
    "tokenizer of nothing": (
        lambda folder: (folder / "tokenizer/tokenizer.json").write_text('{"model": [], "added_tokens": 3}'),
        r"^tokenizer/tokenizer\.json is no tokenizer: it holds no vocabulary$",
    ),
    "deep tokenizer": (
        lambda folder: (folder / "tokenizer/tokenizer.json").write_text("[" * 100_000),
        r"^tokenizer/tokenizer\.json is no tokenizer: ",
    ),
    "settings of a pointer": (
        lambda folder: (folder / "tokenizer/tokenizer_config.json").write_text("version https://git-lfs"),
        r"^tokenizer/tokenizer_config\.json is no setting of a tokenizer: ",
    ),
    "large vocabulary": (
        lambda folder: _add_tokens(folder / "tokenizer_2/tokenizer.json", count=3),
        r"^tokenizer_2/tokenizer\.json is another network's: its token ids go to 8, t5 has rows for 0 to 7$",
    ),
    "large added token": (
        lambda folder: _add_token(folder / "tokenizer/tokenizer.json", number=8),
        r"^tokenizer/tokenizer\.json is another network's: its token ids go to 8, clip has rows for 0 to 7$",
    ),
    "merges of a pointer": (
        lambda folder: _cut_in_two(folder / "tokenizer", merges="version https://git-lfs.github.com/spec/v1\nsize 7\n"),
        r"^tokenizer/merges\.txt is no list of merges: .*'version https://git-lfs\.github\.com/spec/v1'$",
    ),
    "long merges": (
        lambda folder: _cut_in_two(folder / "tokenizer", merges="\n" * (MAX_JSON_BYTES + 1)),
        r"^tokenizer/merges\.txt is no list of merges: it has more than ",
    ),
    "cut merges": (
        lambda folder: _cut_in_two(folder / "tokenizer", merges="#version: 0.2\na b</w>\na"),
        r"^tokenizer/merges\.txt is no list of merges: ",
    ),
    "large list of tokens": (
        lambda folder: _cut_in_two(folder / "tokenizer", merges="#version: 0.2\n", odd=8),
        r"^tokenizer/vocab\.json is another network's: its token ids go to 8, clip has rows for 0 to 7$",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(folder: Path, layouts: Layouts, fault: str) -> None:
    """One sentence says which file is wrong and how, and it is the only one; loading says the same."""
    break_it, sentence = FAULTS[fault]
    break_it(folder)

    problems = problems_of(folder, layouts)

    assert re.search(sentence, problems[0]), problems
    with pytest.raises(WeightsError, match=sentence.rstrip("$")):
        Released(folder, device="cpu", layouts=layouts).components(BOTH)


def test_a_tokenizer_in_two_files(folder: Path, layouts: Layouts) -> None:
    """A vocabulary and its merges are as good as one file, and read to the same ids."""
    _cut_in_two(folder / "tokenizer", merges="#version: 0.2\na b</w>\n")

    text = Released(folder, device="cpu", layouts=layouts).components(("uno",))["uno"].text

    assert problems_of(folder, layouts) == []
    assert text._clip.tokenize(["ab b"])[0, :4].tolist() == [0, 6, 3, 1]


def test_what_transformers_cannot_read_is_no_tokenizer(folder: Path, layouts: Layouts) -> None:
    """What only transformers finds out of a tokenizer is said in a sentence as well."""
    path = folder / "tokenizer/tokenizer.json"
    written = json.loads(path.read_text())
    written["model"]["merges"] = [["x", "y"]]
    path.write_text(json.dumps(written))

    with pytest.raises(WeightsError, match=r"^tokenizer cannot be read as a tokenizer: "):
        Released(folder, device="cpu", layouts=layouts).components(BOTH)


def test_ids_that_a_setting_adds_are_held_against_the_network(folder: Path, layouts: Layouts) -> None:
    """A token that stands in the settings alone, beyond the network's table, is found before a prompt has it."""
    path = folder / "tokenizer/tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"additional_special_tokens": ["<odd>", "<c>", "<d>"]}))

    with pytest.raises(WeightsError, match=r"^tokenizer is another network's: its token ids go to 8, clip has rows"):
        Released(folder, device="cpu", layouts=layouts).components(BOTH)


def test_a_tokenizers_code_is_not_run(folder: Path) -> None:
    """A tokenizer that brings code is refused, whatever is typed where transformers would ask."""
    settings = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]}}
    (folder / "tokenizer/tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "tokenizer/own.py").write_text("raise SystemExit('this ran')\n")
    words = [sys.executable, "-c", LOAD, str(folder), *sys.path]

    ended = subprocess.run(words, input="y\n", capture_output=True, text=True, check=False, timeout=120)

    assert "this ran" not in ended.stderr
    assert ended.stdout.startswith("tokenizer cannot be read as a tokenizer: ")
