"""Images whose rows can be chosen before a pixel is decoded: arrays, and files of the usual image formats."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.files import StoredFile

__all__ = [
    "BROKEN_IMAGE",
    "EIGHT_BIT_MODES",
    "SIZE_HINT",
    "WHITE",
    "ArrayImages",
    "EncodedImages",
    "ImageSize",
    "Images",
    "Pixels",
    "decode_image",
    "to_rgb",
]

WHITE: Final = 255  # in a picture
DARKEST_WHITE: Final = 64  # arrays that stay below have a range of their own, such as 0..1 or 0..16; no pictures do
BLOCK_ROWS: Final = 256  # images in memory at once while they are decoded
MAX_THREADS: Final = 8  # that decode; Pillow leaves the interpreter's lock while it does
SIZE_HINT: Final = "give an image_size (--image-size in a trial's command)"
EIGHT_BIT_MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"})
# What Pillow raises on broken files, beside OSError.
BROKEN_IMAGE: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

# What EXIF says of the camera's position -> what turns the image upright.
TURNS: Final[dict[Any, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
QUARTER_TURNS: Final = frozenset(TURNS[mark] for mark in (5, 6, 7, 8))

Pixels = NDArray[np.uint8]


class ImageSize(NamedTuple):
    """Pixels."""

    height: int
    width: int

    def text(self) -> str:
        """For messages: width and height, as image viewers say it."""
        return f"{self.width}x{self.height}"


class Images(Protocol):
    """Rows of images that are not decoded yet."""

    def __len__(self) -> int: ...

    def take(self, rows: NDArray[np.int64]) -> Images:
        """The given rows, in that order."""

    def identity(self) -> Iterator[str]:
        """Texts that change when the pixels would."""

    def blocks(self, size: ImageSize | None) -> Iterator[Pixels]:
        """Decode in order: uint8 (n, C, H, W), n up to a few hundred, resized where a size is given."""


class ArrayImages:
    """Rows of an array that holds decoded pixels already, in memory or memory-mapped."""

    def __init__(self, pixels: Pixels, source: Callable[[], str], rows: NDArray[np.int64] | None = None) -> None:
        """Keep the array, uint8 (N, C, H, W), and the way to its identity."""
        self._pixels = pixels
        self._source = source
        self._rows = np.arange(len(pixels)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def size(self) -> ImageSize:
        """Height and width."""
        return ImageSize(*self._pixels.shape[2:])

    @property
    def n_channels(self) -> int:
        return int(self._pixels.shape[1])

    @property
    def n_bytes(self) -> int:
        """Of the chosen rows."""
        return len(self) * int(np.prod(self._pixels.shape[1:]))

    def take(self, rows: NDArray[np.int64]) -> ArrayImages:
        """The given rows, in that order."""
        return ArrayImages(self._pixels, self._source, self._rows[rows])

    def identity(self) -> Iterator[str]:
        """The array's source and the rows."""
        yield self._source()
        yield hashlib.sha256(self._rows.astype("<i8").tobytes()).hexdigest()

    def to_array(self) -> Pixels:
        """A copy of the chosen rows, (n, C, H, W)."""
        return np.ascontiguousarray(self._pixels[self._rows])

    def largest_pixel(self) -> int:
        """White, in the range that the chosen rows have, one of them or more: 255, or their maximum where it is low."""
        largest = 1
        for block in self.blocks(None):
            largest = max(largest, int(block.max()))
            if largest >= DARKEST_WHITE:
                return WHITE  # nearly always of the first block
        return largest

    def blocks(self, size: ImageSize | None) -> Iterator[Pixels]:
        """The rows in order; resized with bilinear interpolation and antialiasing."""
        for start in range(0, len(self), BLOCK_ROWS):
            block = np.ascontiguousarray(self._pixels[self._rows[start : start + BLOCK_ROWS]])
            yield block if size in (None, self.size) else _resize(block, size)


class EncodedImages:
    """Files in any format that Pillow reads; all become RGB."""

    def __init__(self, files: Sequence[StoredFile]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def take(self, rows: NDArray[np.int64]) -> EncodedImages:
        """The given rows, in that order."""
        return EncodedImages([self._files[row] for row in rows])

    def identity(self) -> Iterator[str]:
        """That of every file."""
        return (file.identity() for file in self._files)

    def blocks(self, size: ImageSize | None) -> Iterator[Pixels]:
        """Decode in order; without a size, all images must have that of the first.

        Raises:
            DataError: If a file is no image, or has another size; the message names it.
        """
        first: ImageSize | None = size
        with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
            for start in range(0, len(self), BLOCK_ROWS):
                files = self._files[start : start + BLOCK_ROWS]
                contents = (file.read() for file in files)  # here, on one thread: a zip has one position
                images = list(pool.map(lambda file, content: decode_image(file.where, content, size), files, contents))
                first = first or ImageSize(*images[0].shape[1:])
                self._check_sizes(first, files, images)
                yield np.stack(images)

    def _check_sizes(self, first: ImageSize, files: Sequence[StoredFile], images: Sequence[Pixels]) -> None:
        for file, image in zip(files, images, strict=True):
            if image.shape[1:] != first:
                own, expected = ImageSize(*image.shape[1:]).text(), first.text()
                raise DataError(
                    f"{file.where}: is {own}, but {self._files[0].where} is {expected}: "
                    f"images differ in size, {SIZE_HINT}"
                )


def decode_image(where: str, content: bytes, size: ImageSize | None) -> Pixels:
    """Decode one image file to RGB, uint8 (3, H, W); resized with bilinear interpolation and antialiasing.

    It is turned as its camera has marked it (EXIF); transparency is dropped; of an animation the first frame counts.

    Raises:
        DataError: If the content is no image, or has more than 8 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode not in EIGHT_BIT_MODES:
                raise DataError(f"{where}: has pixels of mode {image.mode!r}, expected 8 bits a channel; convert it")
            if size is not None:
                as_stored = (size.height, size.width) if _turn_of(image) in QUARTER_TURNS else (size.width, size.height)
                image.draft(None, as_stored)  # a large JPEG is decoded at 1/2, 1/4 or 1/8
            pixels = to_rgb(image)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{where}: is no image that can be read: its content is in no known format") from error
    except BROKEN_IMAGE as error:
        raise DataError(f"{where}: is no image that can be read: {error}") from error
    if size is not None and pixels.size != (size.width, size.height):
        pixels = pixels.resize((size.width, size.height), Image.Resampling.BILINEAR)
    array: NDArray[Any] = np.asarray(pixels)  # (H, W, 3)
    return array.transpose(2, 0, 1)


def to_rgb(image: Image.Image) -> Image.Image:
    """Upright and without transparency."""
    image.load()
    turn = _turn_of(image)  # only now: loading has turned a TIFF
    # Pillow warns of opacities in a palette, unless it is asked for RGBA first; the colours are the same.
    has_opacities = image.mode == "P" and isinstance(image.info.get("transparency"), bytes)
    rgb = (image.convert("RGBA") if has_opacities else image).convert("RGB")
    return rgb if turn is None else rgb.transpose(turn)


def _turn_of(image: Image.Image) -> Image.Transpose | None:
    """What turns it upright; nothing where the camera's marks are broken, as in image viewers."""
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except (*BROKEN_IMAGE, KeyError, TypeError):
        return None


def _resize(block: Pixels, size: ImageSize | None) -> Pixels:
    resized = F.interpolate(torch.from_numpy(block), size, mode="bilinear", antialias=True)
    return np.asarray(resized.numpy(), dtype=np.uint8)
