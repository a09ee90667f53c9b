"""The two reference pictures that come with the service, drawn by ``draw.py``."""

from __future__ import annotations

from importlib.resources import files


def read_picture(name: str) -> bytes:
    """Return a bundled picture as a PNG file.

    Args:
        name: ``mug`` or ``waves``.
    """
    return files(__name__).joinpath(f"{name}.png").read_bytes()
