"""Random changes of training images, drawn anew for each image."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nni_dream.automl.digits_parameters import Augmentation
from nni_dream.automl.image_settings import ImageAugmentation

__all__ = ["augment"]


def augment(pixels: Tensor, augmentation: Augmentation | ImageAugmentation, *, generator: torch.Generator) -> Tensor:
    """Flip, turn, zoom, shift and contrast each image at random; what moves in from outside mirrors the edge.

    Every change commutes with a shift and scaling of each channel: before or after normalisation is the same.

    Args:
        pixels: (B, C, H, W), float.  Not modified.
        generator: On the CPU, wherever the pixels are: the same seed draws the same changes on any device.
    """
    n_images = len(pixels)

    def draw(largest: float) -> Tensor:  # (B,), uniform in [-largest, largest]
        return (2 * torch.rand(n_images, generator=generator) - 1) * largest

    def draw_sign() -> Tensor:  # (B,), each 1 or -1
        return torch.randint(0, 2, (n_images,), generator=generator) * 2.0 - 1.0

    angle = draw(augmentation.rotation * 2 * math.pi)
    scale = 1 + draw(augmentation.zoom)
    shift_x, shift_y = draw(augmentation.translation * 2), draw(augmentation.translation * 2)  # an image is 2 wide
    cos, sin = scale * angle.cos(), scale * angle.sin()
    aspect = pixels.shape[3] / pixels.shape[2]  # width and height are both 2 here: a turn is one of pixels
    affine = torch.stack([cos, -sin / aspect, shift_x, sin * aspect, cos, shift_y], dim=1).view(n_images, 2, 3)
    if augmentation.horizontal_flip:
        affine[:, 0] *= draw_sign()[:, None]
    if augmentation.vertical_flip:
        affine[:, 1] *= draw_sign()[:, None]
    contrast = 1 + draw(augmentation.contrast) if augmentation.contrast > 0 else None

    grid = F.affine_grid(affine.to(pixels.device), list(pixels.shape), align_corners=False)  # (B, H, W, 2)
    changed = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    return changed if contrast is None else _scale_contrast(changed, contrast.to(pixels.device))


def _scale_contrast(pixels: Tensor, factors: Tensor) -> Tensor:
    """Move each pixel away from, or towards, the mean of its channel of its image."""
    mean = pixels.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
    return mean + (pixels - mean) * factors[:, None, None, None]
