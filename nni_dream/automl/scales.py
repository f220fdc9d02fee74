"""How large the members of the families are: ``tiny`` for a CPU and seconds, ``small`` between, ``full`` as published.

The search space is the same at every scale: the same objects, values and conditions.  Below full scale a value of the
space stands for a smaller network, and no two values for the same one.
"""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias, get_args

__all__ = [
    "SCALES",
    "Scale",
    "imagenet_size",
    "plain_size",
    "scaled_embedding",
    "scaled_heads",
    "scaled_length",
    "scaled_width",
]

Scale: TypeAlias = Literal["tiny", "small", "full"]
SCALES: Final[tuple[Scale, ...]] = get_args(Scale)

HEAD_STEP: Final = 8  # tiny embeddings are multiples of it: every number of heads divides them
# Input size of the published networks; timm's for their ImageNet weights.
FULL_SIZES: Final = {
    **dict.fromkeys(("resnet50", "resnet101", "resnet152", "resnet50_v2", "resnet101_v2", "resnet152_v2"), 224),
    **dict(zip((f"b{i}" for i in range(8)), (224, 240, 260, 300, 380, 456, 528, 600), strict=True)),
    "xception": 299,
}
OWN_SIZES: Final = {"tiny": 36, "small": 112}  # of our networks, all families alike
PLAIN_LIMITS: Final = {"tiny": (16, 32), "small": (32, 64)}  # least and largest shorter side of a reduced input


def imagenet_size(version: str, scale: Scale) -> int:
    """Return the height and width, in pixels, of the input that a network was made for."""
    return FULL_SIZES[version] if scale == "full" else OWN_SIZES[scale]


def plain_size(height: int, width: int, scale: Scale) -> tuple[int, int]:
    """Return the height and width at which an image goes into a network without `imagenet_size`.

    At full scale its own; below, half of it within limits, and never more than its own.  The shape is kept.
    """
    if scale == "full":
        return height, width
    least, largest = PLAIN_LIMITS[scale]
    shorter = min(height, width)
    target = min(shorter, max(least, min(largest, shorter // 2)))
    return round(height * target / shorter), round(width * target / shorter)


def scaled_width(width: int, scale: Scale) -> int:
    """Return the number of filters or units that a layer has at this scale."""
    if scale == "full":
        return width
    if scale == "small":
        return max(1, width // 2)
    return max(1, round(2 * math.sqrt(width)))


def scaled_embedding(width: int, scale: Scale) -> int:
    """Return the length of an embedding's vectors at this scale."""
    if scale != "tiny":
        return scaled_width(width, scale)
    return max(1, math.floor(2 * math.sqrt(width) / HEAD_STEP + 0.5)) * HEAD_STEP


def scaled_heads(n_heads: int, scale: Scale) -> int:
    """Return the number of attention heads at this scale."""
    return max(1, n_heads // 4) if scale == "tiny" else n_heads


def scaled_length(length: int, scale: Scale) -> int:
    """Return the number of tokens of a text at this scale."""
    return max(1, length // 4) if scale == "tiny" else length
