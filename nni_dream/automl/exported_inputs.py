"""From what a user has (pictures, arrays, texts) to what a model takes, as its training data were made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.images import (
    BROKEN_IMAGE,
    EIGHT_BIT_MODES,
    WHITE,
    ArrayImages,
    ImageSize,
    Pixels,
    decode_image,
    to_rgb,
)
from nni_dream.automl.kept_model import ModelDescription
from nni_dream.automl.models.text import text_length
from nni_dream.automl.text_settings import TextSettings

__all__ = ["InputError", "image_pixels", "text_ids"]


class InputError(ValueError):
    """Inputs are not what the model takes; the message names the first wrong one."""


def image_pixels(inputs: object, description: ModelDescription) -> Tensor:
    """Return images as the model takes them: uint8 (N, C, H, W), from 0 to the data set's white.

    Images of another size are resized to the data set's, with bilinear interpolation and antialiasing; the shape is
    not kept.  Pictures become RGB, or grey where the model has one channel.

    Args:
        inputs: An array (N, H, W, C) of bytes in the range of the data set, (N, H, W) with one channel; or a sequence
            of paths, PIL images and arrays (H, W, C).

    Raises:
        InputError: If there is none, or one is no image of these channels.
    """
    channels, height, width = description.image_shape or (0, 0, 0)
    target = _Target(channels, ImageSize(height, width), description.largest_pixel)
    if isinstance(inputs, np.ndarray):
        return torch.from_numpy(_array_pixels("inputs", inputs, target, "N, "))
    rows = [_one_image(f"inputs[{i}]", given, target) for i, given in enumerate(_listed(inputs))]
    return torch.from_numpy(np.stack(rows))


def text_ids(inputs: object, description: ModelDescription) -> Tensor:
    """Return texts as the model takes them: ids of terms, int32 (N, L); words that it does not know count as one.

    Raises:
        InputError: If there is none, or one is no text.
    """
    texts = _listed(inputs)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"inputs[{i}] is {_kind(text)}, this model takes texts (str)")
    settings = description.settings()
    assert isinstance(settings, TextSettings)  # the task says so
    return description.vocabulary().encode(texts, text_length(settings, description.scale))


class _Target(NamedTuple):
    """Images as the data set has them."""

    channels: int
    size: ImageSize
    largest: int  # white


def _listed(inputs: object) -> list[Any]:
    if isinstance(inputs, (str, bytes, os.PathLike, Image.Image)):
        raise InputError(f"inputs is {_kind(inputs)}, expected a sequence: put it into a list")
    if not isinstance(inputs, Iterable) or (isinstance(inputs, np.ndarray) and inputs.ndim == 0):
        raise InputError(f"inputs is {_kind(inputs)}, expected a sequence of images or texts")
    if isinstance(inputs, Mapping) or hasattr(inputs, "columns"):  # a DataFrame, of which a list has the names
        raise InputError(f"inputs is {_kind(inputs)}, expected a sequence: give one column, such as df['text']")
    listed = list(inputs)
    if not listed:
        raise InputError("inputs is empty, expected one image or text at least")
    return listed


def _one_image(where: str, given: object, target: _Target) -> Pixels:
    if isinstance(given, np.ndarray):
        (pixels,) = _array_pixels(where, given, target, "")
        return np.asarray(pixels)
    if isinstance(given, Image.Image):
        return _fitted(_rgb_pixels(where, given, target.size), target)
    if not isinstance(given, (str, os.PathLike)):
        raise InputError(f"{where} is {_kind(given)}, this model takes images: paths, PIL images or arrays of bytes")
    path = Path(given)
    try:
        return _fitted(decode_image(f"{where}: {path}", path.read_bytes(), target.size), target)
    except DataError as error:
        raise InputError(str(error)) from error
    except (OSError, ValueError) as error:  # a name can have a zero byte
        raise InputError(f"{where}: {str(path)!r} cannot be read: {getattr(error, 'strerror', error)}") from error


def _rgb_pixels(where: str, picture: Image.Image, size: ImageSize) -> Pixels:
    """As `decode_image` does it for files; of a JPEG the pixels differ a little, which it reads at a smaller scale."""
    if picture.mode not in EIGHT_BIT_MODES:
        raise InputError(f"{where}: has pixels of mode {picture.mode!r}, expected 8 bits a channel; convert it")
    if 0 in picture.size:
        raise InputError(f"{where}: is a picture of {picture.width}x{picture.height} pixels: it is empty")
    try:
        rgb = to_rgb(picture)
    except BROKEN_IMAGE as error:  # a file that is only now read to its end
        raise InputError(f"{where}: is no image that can be read: {error}") from error
    if rgb.size != (size.width, size.height):
        rgb = rgb.resize((size.width, size.height), Image.Resampling.BILINEAR)
    pixels: Pixels = np.asarray(rgb)  # (H, W, 3)
    return pixels.transpose(2, 0, 1)


def _fitted(rgb: Pixels, target: _Target) -> Pixels:
    """Bring a picture (3, H, W), 0..255, to the channels and the range of the data set."""
    if target.channels == 1:
        grey: Pixels = np.asarray(Image.fromarray(rgb.transpose(1, 2, 0)).convert("L"))
        rgb = grey[None]
    elif target.channels != len(rgb):
        raise InputError(f"this model takes arrays of {target.channels} channels; a picture has {len(rgb)}")
    if target.largest == WHITE:
        return rgb
    scaled: Pixels = np.rint(rgb * (target.largest / WHITE)).astype(np.uint8)
    return scaled


def _array_pixels(where: str, given: NDArray[Any], target: _Target, batch: str) -> Pixels:
    """Return (N, C, H, W) of an array (N, H, W, C), or of one without N where ``batch`` is empty."""
    if given.dtype != np.uint8:
        raise InputError(f"{where} is an array of {given.dtype}, expected uint8 from 0 to {target.largest}")
    array = given if batch else given[None]
    if target.channels == 1 and array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] != target.channels:
        expected = f"({batch}height, width, {target.channels})"
        raise InputError(f"{where} is an array of shape {given.shape}, expected {expected}")
    if array.size == 0:
        raise InputError(f"{where} is an array of shape {given.shape}: it is empty")
    if array.max() > target.largest:
        raise InputError(
            f"{where} has a pixel of {array.max()}, but in the training data they go from 0 to {target.largest}; "
            "scale the array, or give the images as PIL images"
        )
    images = ArrayImages(np.ascontiguousarray(array.transpose(0, 3, 1, 2)), lambda: where)
    return np.concatenate(list(images.blocks(target.size)))


def _kind(given: object) -> str:
    is_scalar = isinstance(given, np.ndarray) and given.ndim == 0
    return "an array without an axis" if is_scalar else type(given).__name__
