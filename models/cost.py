"""What a request costs a GPU, in work units; pure arithmetic that the HTTP tier can afford.

One unit is one denoising step of one 1024x1024 picture without references. Fair shares, caps and estimates count in
units, so that a tenant who asks for large pictures with many references takes no more than one who asks for small ones.
"""

from __future__ import annotations

from models.request import GenerationRequest, Role

#: Tokens of a prompt, after padding.
TEXT_TOKENS = 512
#: Tokens of one square reference that is alone, and of one of several: their long sides are 512 and 320 pixels.
LONE_REFERENCE_TOKENS, ONE_OF_MANY_TOKENS = 1024, 400
#: Tokens of one style reference.
STYLE_TOKENS = 192
#: Floating-point operations of one step: linear layers per token, and attention per pair of tokens.
#: Source: FLUX.1-dev's geometry, 57 blocks of width 3072: 2 * 57 * 12 * 3072**2 and 57 * 4 * 3072.
LINEAR_FLOP, ATTENTION_FLOP = 2 * 57 * 12 * 3072**2, 57 * 4 * 3072


def work_units(request: GenerationRequest) -> float:
    """Return what a request costs in all, in units; more than 0."""
    return request.num_images * request.num_inference_steps * _step_flop(_tokens(request)) / _step_flop(_UNIT_TOKENS)


def _tokens(request: GenerationRequest) -> int:
    target = -(-request.width // 16) * -(-request.height // 16)
    styles = sum(reference.role is Role.STYLE for reference in request.references)
    pictures = len(request.references) - styles
    return target + TEXT_TOKENS + styles * STYLE_TOKENS + _picture_tokens(pictures)


def _picture_tokens(count: int) -> int:
    return LONE_REFERENCE_TOKENS if count == 1 else count * ONE_OF_MANY_TOKENS


def _step_flop(tokens: int) -> float:
    return LINEAR_FLOP * tokens + ATTENTION_FLOP * tokens**2


_UNIT_TOKENS = 64 * 64 + TEXT_TOKENS
