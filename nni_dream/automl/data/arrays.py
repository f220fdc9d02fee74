"""Users' own arrays: images and targets in one .npz, or in .npy files side by side.

Names: ``images`` and ``targets`` (or ``x`` and ``y``, or ``data`` and ``labels``), alone or as ``x_train``,
``y_train``, ``x_test``, ``y_test`` (also ``_val``, ``_valid`` and ``_validation``).  An array that would not be
used though it has such a name, or nearly, is an error; others are passed over.
Images are uint8, (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3; where both could be meant, the last axis has
the channels.  Targets of a classification are whole numbers or texts, (N,); of a regression numbers, (N,) or (N, k).
"""

from __future__ import annotations

import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nni_dream.automl.data.errors import DataError, MissingDataError
from nni_dream.automl.data.files import file_identity, files_in
from nni_dream.automl.data.images import ArrayImages
from nni_dream.automl.data.parts import PART_NAMES, Part, Parts, encode_labels, known_classes
from nni_dream.automl.task_settings import Task

__all__ = ["read_arrays"]

NAMES: Final = (("images", "targets"), ("x", "y"), ("data", "labels"))
SUFFIXES: Final = {"train": ("_train", ""), "validation": ("_validation", "_val", "_valid"), "test": ("_test",)}
KNOWN_NAMES: Final = frozenset(name for pair in NAMES for name in pair)
PART_WORDS: Final = frozenset(word for words in PART_NAMES.values() for word in words)
UNDERSTOOD: Final = "images and targets, x and y, or data and labels, alone or with _train, _validation or _test"
CHANNELS: Final = (1, 3)
# What NumPy and zipfile raise on broken files, beside OSError; RuntimeError: encrypted, or packed in an unknown way.
BROKEN_ARRAY: Final = (
    OSError,
    ValueError,
    EOFError,
    AttributeError,
    TypeError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)

Arrays = Mapping[str, NDArray[Any]]


def read_arrays(data_dir: Path, *, task: Task = "image_classification") -> Parts:
    """Read an .npz file, or a folder with one .npz or with .npy files.

    Raises:
        DataError: If there is none, one is named like a part and would go unused, or one has another shape or type.
    """
    files = _find_files(data_dir)
    arrays = _read_npz(files[0]) if _ends_in(files[0], ".npz") else {file.stem: _read_npy(file) for file in files}
    return _make_parts(arrays, files, data_dir, task)


def _find_files(data_dir: Path) -> list[Path]:
    if data_dir.is_file():
        return [data_dir]
    npz, npy = ([file for file in files_in(data_dir) if _ends_in(file, suffix)] for suffix in (".npz", ".npy"))
    if len(npz) > 1 or (npz and npy):
        raise DataError(f"{data_dir}: holds {len(npz)} .npz and {len(npy)} .npy files; give the path of one .npz")
    if not npz and not npy:
        raise MissingDataError(
            f"arrays: found no .npz and no .npy file in {data_dir}; "
            "write one with numpy.savez(path, images=..., targets=...)"
        )
    return npz or npy


def _ends_in(file: Path, suffix: str) -> bool:
    return file.suffix.lower() == suffix


def _read_npz(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except BROKEN_ARRAY as error:
        raise DataError(f"{file}: is no .npz of plain arrays: {_problem(error)}") from error


def _read_npy(file: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except BROKEN_ARRAY as error:
        raise DataError(f"{file}: is no .npy of a plain array: {_problem(error)}") from error
    return array


def _problem(error: Exception) -> str:
    """NumPy's words, but for its advice to load what may run code."""
    return "it is in no known format, or holds Python objects" if "pickle" in str(error) else str(error)


def _make_parts(arrays: Arrays, files: list[Path], data_dir: Path, task: Task) -> Parts:
    pairs = [_pair(arrays, suffixes) for suffixes in SUFFIXES.values()]
    train = pairs[0]
    if train is None:
        raise DataError(
            f"{data_dir}: holds arrays {', '.join(sorted(arrays))}; needs images and targets, or x_train and y_train"
        )
    _refuse_left_over(set(arrays) - {name for pair in pairs if pair is not None for name in pair}, data_dir)
    classes = known_classes(_labels(arrays[train[1]], data_dir, train[1])) if task == "image_classification" else None
    read = [None if pair is None else _make_part(arrays, pair, files, data_dir, classes) for pair in pairs]
    assert read[0] is not None
    return Parts(read[0], classes, validation=read[1], test=read[2])


def _pair(arrays: Arrays, suffixes: tuple[str, ...]) -> tuple[str, str] | None:
    """The names of images and targets of a part, in whichever of the accepted spellings."""
    for suffix in suffixes:
        for images, targets in NAMES:
            pair = (images + suffix, targets + suffix)
            if all(name in arrays for name in pair):
                return pair
    return None


def _refuse_left_over(names: set[str], data_dir: Path) -> None:
    """Refuse arrays that are meant for a part: they would be missing, and nobody would know."""
    left_over = sorted(filter(_is_like_a_part, names))
    if left_over:
        raise DataError(
            f"{data_dir}: {', '.join(left_over)} would not be used: names come in pairs, and are {UNDERSTOOD}; "
            "rename it, or leave it out"
        )


def _is_like_a_part(name: str) -> bool:
    """Whether a name begins as one of images or targets, or has such a word after that of a part: train_images."""
    first, *others = name.lower().split("_")
    return first in KNOWN_NAMES or (first in PART_WORDS and not KNOWN_NAMES.isdisjoint(others))


def _make_part(
    arrays: Arrays, pair: tuple[str, str], files: list[Path], data_dir: Path, classes: list[str] | None
) -> Part:
    where = f"{data_dir}: {pair[0]}, {pair[1]}"
    pixels = _channels_first(arrays[pair[0]], f"{data_dir}: {pair[0]}")
    images = ArrayImages(pixels, lambda: "\n".join([pair[0], *(file_identity(file) for file in files)]))
    if classes is None:
        return Part(images, _numbers(arrays[pair[1]], data_dir, pair[1]), where)
    labels = _labels(arrays[pair[1]], data_dir, pair[1])
    places = [f"{data_dir}: row {row} of {pair[1]}" for row in range(len(labels))]
    return Part(images, encode_labels(labels, classes, places), where)


def _channels_first(array: NDArray[Any], where: str) -> NDArray[np.uint8]:
    if 0 in array.shape[1:]:
        raise DataError(f"{where}: has shape {array.shape}: its images have no pixel")
    if array.dtype != np.uint8:
        raise DataError(f"{where}: is {array.dtype}, expected uint8 from 0 to 255; scale and convert it")
    if array.ndim == 3:
        return array[:, None]  # (N, 1, H, W)
    if array.ndim == 4 and array.shape[3] in CHANNELS:
        return array.transpose(0, 3, 1, 2)  # (N, C, H, W)
    if array.ndim == 4 and array.shape[1] in CHANNELS:
        return array
    raise DataError(f"{where}: has shape {array.shape}, expected (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3")


def _labels(array: NDArray[Any], data_dir: Path, name: str) -> list[str]:
    if array.ndim == 2 and array.shape[1] == 1:  # as Keras has them
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iuUb":
        raise DataError(
            f"{data_dir}: {name} is {array.dtype} of shape {array.shape}, "
            "expected whole numbers or texts (N,) for image_classification"
        )
    return [str(label) for label in array.tolist()]


def _numbers(array: NDArray[Any], data_dir: Path, name: str) -> NDArray[np.float32]:
    if array.ndim not in (1, 2) or 0 in array.shape[1:] or array.dtype.kind not in "iuf":
        raise DataError(
            f"{data_dir}: {name} is {array.dtype} of shape {array.shape}, "
            "expected numbers (N,) or (N, k), k 1 or more, for image_regression"
        )
    with np.errstate(over="ignore"):  # told below, with its row
        numbers = array.astype(np.float32)
    lost = np.isinf(numbers) & ~np.isinf(array)
    if lost.any():
        row = int(np.argwhere(lost)[0, 0])
        raise DataError(f"{data_dir}: target of row {row} of {name} is {array[row]}, too large for float32; scale them")
    return numbers
