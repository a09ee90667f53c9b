"""A tokenizer without a vocabulary: one token per UTF-8 byte; knows no encoder."""

from __future__ import annotations

import torch
from torch import Tensor

#: Fills what a text leaves free.
PAD = 0
#: Ends a text.
END = 1
#: Byte b is token b + this; 2 stays free, since CLIP's code gives an end token of 2 another meaning.
FIRST_BYTE = 3
#: Number of different tokens.
VOCABULARY = FIRST_BYTE + 256


class ByteTokenizer:
    """Cut texts into bytes."""

    def __call__(
        self, text: list[str], *, padding: str, truncation: bool, max_length: int, return_tensors: str
    ) -> dict[str, Tensor]:
        """Return ``input_ids`` of shape (texts, max_length), each text cut if need be, ended and padded."""
        assert (padding, truncation, return_tensors) == ("max_length", True, "pt")  # noqa: S101 -- nobody asks for more
        return {"input_ids": torch.tensor([_ids(each, max_length) for each in text])}


def _ids(text: str, length: int) -> list[int]:
    ids = [FIRST_BYTE + byte for byte in text.encode()[: length - 1]]
    return [*ids, END, *[PAD] * (length - 1 - len(ids))]
