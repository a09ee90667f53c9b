"""Reference pictures against the authors' sizes and pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.flux.references import USO_SPARED, EmptyReference, align, fit, keep_size, long_side, preprocess


def test_sizes(golden_json: Callable[[str], Any]) -> None:
    """Every recorded picture size lands where the authors' rule puts it, for UNO and for USO."""
    for case in golden_json("preprocess")["sizes"]:
        source = (case["width"], case["height"])

        uno = fit(source, case["long_size"])
        uso = fit(source, case["long_size"], spared=USO_SPARED)

        assert (uno, uso) == (tuple(case["uno"]), tuple(case["uso"])), case


def test_empty_results_are_refused(golden_json: Callable[[str], Any]) -> None:
    """Every recorded picture that would shrink to nothing is refused with its size."""
    empty = [case for case in golden_json("preprocess")["sizes"] if case.get("uno_empty")]

    for case in empty:
        size = (case["width"], case["height"])
        with pytest.raises(EmptyReference, match=f"{size[0]}x{size[1]}"):
            preprocess(Image.new("RGB", size), case["long_size"])

    assert empty


@pytest.mark.parametrize("case", range(5))
def test_pixels(difference: Any, golden: Any, golden_json: Callable[[str], Any], case: int) -> None:
    """A picture of any mode comes out with the recorded pixels."""
    recorded = golden("preprocess_arrays")
    described = golden_json("preprocess")["arrays"][case]
    source = Image.fromarray(recorded[f"in.{case}"].numpy())

    fitted = preprocess(source, described["long_size"])

    assert source.mode == described["mode"]
    difference("reference pixels", torch.from_numpy(np.array(fitted)), recorded[f"out.{case}"])


def test_kept_sizes(golden_json: Callable[[str], Any]) -> None:
    """Keeping the content picture's proportions asks for and makes the recorded sizes."""
    for case in golden_json("preprocess")["keep_size"]:
        long = case["content_long_size"]

        content = fit((case["width"], case["height"]), long, spared=USO_SPARED)
        requested = keep_size(content, long)

        assert content == tuple(case["content_size"]), case
        assert requested == tuple(case["requested"]), case
        assert align(requested) == tuple(case["generated"]), case


def test_odd_excess_is_cut_at_the_end() -> None:
    """Of an odd excess the larger half falls off at the right or the bottom."""
    source = Image.effect_noise((64, 35), 80).convert("RGB")

    fitted = preprocess(source, 64)

    assert fitted.tobytes() == source.crop((0, 1, 64, 33)).tobytes()


def test_spared_picture_is_untouched() -> None:
    """USO takes a 16x16 picture as it is, in RGB; UNO enlarges it."""
    tiny = Image.effect_noise((16, 16), 80)

    uso = preprocess(tiny, 512, spared=USO_SPARED)
    uno = preprocess(tiny, 512)

    assert uso.tobytes() == tiny.convert("RGB").tobytes()
    assert uno.size == (512, 512)


def test_several_references_are_smaller() -> None:
    """A lone reference gets 512 pixels, several get 320 each."""
    assert [long_side(count) for count in (1, 2, 4)] == [512, 320, 320]
