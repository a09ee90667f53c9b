"""A folder that holds a small image classifier with random numbers, as transformers saves one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

#: The classes, by their numbers.
LABELS = {0: "normal", 1: "nsfw", 2: "Drawing"}
#: The file of weights.
WEIGHTS = "model.safetensors"
ProblemType: TypeAlias = Literal["single_label_classification", "multi_label_classification"]


def write_classifier(
    folder: Path, *, problem_type: ProblemType = "single_label_classification", lean: float = 0.0
) -> Path:
    """Write a classifier of three classes for pictures of 16 by 16 pixels.

    Args:
        folder: made if it is not there.
        problem_type: in transformers' words, whether classes exclude one another.
        lean: how much the second class is favoured, whatever a picture shows.
    """
    config = ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=8,
        id2label=LABELS,
        label2id={label: number for number, label in LABELS.items()},
        problem_type=problem_type,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = ViTForImageClassification(config)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    with torch.no_grad():
        network.get_parameter("classifier.bias")[1] += lean
    network.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder
