"""A preview looks like what the decoder makes of the same latents, only smaller."""

from __future__ import annotations

import numpy as np
from PIL import Image

from models.request import GenerationRequest
from models.tiny import components
from models.uno import UnoPipeline


def test_the_last_preview_has_the_colours_of_the_picture() -> None:
    """After the last step a preview, a pixel for every latent pixel, correlates with the decoded picture."""
    pipeline = UnoPipeline(components("uno"))
    wish = GenerationRequest(
        model="uno",
        prompt="a cat",
        references=(),
        width=512,
        height=256,
        num_inference_steps=3,
        guidance_scale=4,
        seed=1,
    )
    samples = pipeline.prepare("r", wish, [])
    assert pipeline.preview(samples[0]) is None

    for _ in range(3):
        samples = pipeline.step(samples)
    preview = pipeline.preview(samples[0])
    [picture] = pipeline.decode(samples)

    assert preview is not None
    assert (preview.mode, preview.size) == ("RGB", (16, 8))
    small = picture.image.resize(preview.size, Image.Resampling.BOX)
    assert np.corrcoef(np.asarray(preview).ravel(), np.asarray(small).ravel())[0, 1] > 0.9
