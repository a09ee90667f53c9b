"""The safety checker: what it says of a picture, and which folders hold none."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from classifier_folder import WEIGHTS, write_classifier
from PIL import Image
from safetensors.torch import load_file, save_file

from models.loading import UnusableSafetyModel, load_checker
from models.safety import Checker, UnusableChecker

SEEN = [Image.new("RGB", (40, 24), colour) for colour in ("black", "white", "red")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a classifier without a fault; nobody changes it."""
    return write_classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """Copy the classifier, to be broken."""
    return Path(shutil.copytree(whole, tmp_path / "classifier"))


def loaded(folder: Path, *labels: str, threshold: float = 0.5) -> Checker:
    """Load a classifier."""
    return load_checker(str(folder), labels=labels or ("nsfw",), threshold=threshold)


def test_a_picture_is_flagged_from_the_threshold_on(whole: Path) -> None:
    """What a classifier finds likelier than the threshold is flagged, and nothing else."""
    likely = sorted(loaded(whole).probability(image) for image in SEEN)
    threshold = (likely[0] + likely[-1]) / 2

    verdicts = [loaded(whole, threshold=threshold).is_unsafe(image) for image in SEEN]

    assert verdicts == [loaded(whole).probability(image) >= threshold for image in SEEN]
    assert set(verdicts) == {True, False}


def test_classes_that_exclude_one_another_are_added_up(whole: Path) -> None:
    """All classes together are certain, two are as likely as both; their names count in small letters too."""
    every, one, two, both = (
        loaded(whole, *labels).probability(SEEN[0])
        for labels in (("normal", "nsfw", "drawing"), ("nsfw",), ("DRAWING",), ("nsfw", "Drawing"))
    )

    assert every == pytest.approx(1)
    assert both == pytest.approx(one + two)


def test_of_classes_that_may_be_together_the_likeliest_counts(tmp_path: Path) -> None:
    """A classifier that judges each class by itself is asked for the worst of them."""
    folder = write_classifier(tmp_path, problem_type="multi_label_classification")

    one, two, both = (
        loaded(folder, *labels).probability(SEEN[1]) for labels in (("nsfw",), ("Drawing",), ("nsfw", "Drawing"))
    )

    assert both == max(one, two)


def test_every_file_is_told_with_its_digest(whole: Path) -> None:
    """What was read is told by name and SHA-256, what says how to read the weights included."""
    told: list[tuple[str, str]] = []

    load_checker(str(whole), labels=("nsfw",), threshold=0.5, read=lambda *file: told.append(file))

    assert told == _digests(whole)
    assert [name for name, _ in told] == ["config.json", WEIGHTS, "preprocessor_config.json"]


def _digests(folder: Path) -> list[tuple[str, str]]:
    return [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_file_that_differs_from_its_record_is_refused(folder: Path, name: str) -> None:
    """What classes are called and how pictures are prepared counts as much as the weights."""
    (folder / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in _digests(folder)))
    loaded(folder)
    (folder / name).write_bytes(b" " + (folder / name).read_bytes())

    with pytest.raises(UnusableSafetyModel, match="json is not the file that SHA256SUMS records"):
        loaded(folder)


def test_classes_whose_names_differ_only_in_case_count_together(folder: Path) -> None:
    """A name stands for every class that is called so, in small or capital letters."""
    _configure(folder, id2label={"0": "normal", "1": "nsfw", "2": "NSFW"}, label2id={"normal": 0, "nsfw": 1, "NSFW": 2})

    together, rest = (loaded(folder, label).probability(SEEN[0]) for label in ("nsfw", "normal"))

    assert together == pytest.approx(1 - rest)


def _configure(folder: Path, **settings: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))


def _lead_out(folder: Path) -> None:
    shutil.move(folder / WEIGHTS, folder.with_name(WEIGHTS))
    places = dict.fromkeys(load_file(folder.with_name(WEIGHTS)), f"../{WEIGHTS}")
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def _hide(folder: Path) -> None:
    (folder / "below").mkdir()
    shutil.move(folder / WEIGHTS, folder / "below" / WEIGHTS)
    _configure(folder, transformers_weights=f"below/{WEIGHTS}")


def _stand_in(folder: Path) -> None:
    other = Path(shutil.copytree(folder, folder.with_name("other")))
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(other)}))


def _lose_head(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({name: t for name, t in tensors.items() if name != "classifier.bias"}, folder / WEIGHTS, {"format": "pt"})


def _add(folder: Path) -> None:
    save_file(load_file(folder / WEIGHTS) | {"odd": torch.ones(1)}, folder / WEIGHTS, {"format": "pt"})


def _pickle(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def _flip(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(content).hexdigest()}  {WEIGHTS}\n")
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def _spoil(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["classifier.bias"][:] = torch.nan
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


def _bring_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "own"
    config["auto_map"] = {"AutoConfig": "own.Config", "AutoModelForImageClassification": "own.Network"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('this ran')\n")


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (_lose_head, r"missing tensors: classifier\.bias"),
        (_add, "unknown tensors: odd"),
        (_pickle, "safetensors"),
        (_flip, r"model\.safetensors is not the file that SHA256SUMS records"),
        (_spoil, "it cannot look at a picture: .* numbers that are none"),
        (_bring_code, "it cannot be loaded: "),
        (
            _lead_out,
            r"model\.safetensors\.index\.json names '\.\./model\.safetensors'; shards are safetensors files beside",
        ),
        (_hide, r"config\.json names 'below/model\.safetensors'; weights are safetensors files beside it"),
        (_stand_in, r"it cannot be loaded: adapter_config\.json makes it an adapter"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"x" * 100), "it cannot be loaded: "),
        (lambda folder: _configure(folder, num_attention_heads="x"), "it cannot be loaded: "),
        (lambda folder: (folder / "config.json").unlink(), "it cannot be loaded: .*config"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), r"it cannot be loaded: .*preprocessor_config"),
    ],
    ids=[
        "headless",
        "stranger",
        "pickle",
        "flipped",
        "NaN",
        "code",
        "outside",
        "below",
        "adapter",
        "no file",
        "no number",
        "no config",
        "no sizes",
    ],
)
def test_what_is_no_checker_is_refused(folder: Path, break_it: Callable[[Path], object], sentence: str) -> None:
    """A folder that does not hold a whole classifier is refused with its name and the reason; none of its code runs."""
    break_it(folder)

    with pytest.raises(UnusableSafetyModel) as refusal:
        loaded(folder)

    assert str(refusal.value).startswith(f"UXO_SAFETY_MODEL={str(folder)!r} cannot be used: ")
    assert re.search(sentence, str(refusal.value), re.DOTALL)


@pytest.mark.parametrize("model", ["/not/there", "nobody-is-called-so/classifier@main"])
def test_what_is_not_there_is_refused(model: str) -> None:
    """Neither a folder that is missing nor a hub id that is not on this machine is taken."""
    with pytest.raises(UnusableSafetyModel, match="cannot be used: "):
        load_checker(model, labels=("nsfw",), threshold=0.5)


def test_a_class_that_it_does_not_know_is_refused(whole: Path) -> None:
    """Labels are checked at the start, and those there are are named."""
    with pytest.raises(UnusableSafetyModel, match="it has no label 'porn'; it has: Drawing, normal, nsfw"):
        loaded(whole, "nsfw", "porn")


def test_a_picture_that_breaks_it_is_told_from_a_harmless_one(whole: Path) -> None:
    """An answer that is no number is an error and never a verdict."""
    checker = loaded(whole)
    checker.network.classifier.bias.data[0] = torch.inf

    with pytest.raises(UnusableChecker):
        checker.is_unsafe(SEEN[0])
