"""The picture that loads send as a reference: small, and part of the call, so that nothing has to be fetched."""

from __future__ import annotations

import base64
import io

from PIL import Image


def small_reference() -> str:
    """Draw a grey picture as a data URI."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
