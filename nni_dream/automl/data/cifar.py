"""CIFAR-10 and CIFAR-100, from the published Python batches; CIFAR-10 also from a zip or a folder of images.

The batches are pickles.  They are read here and not by torchvision, whose ``pickle.load`` runs whatever a file asks
for: this reader lets a file make arrays and nothing else.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy._core.multiarray import _reconstruct

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.files import file_identity, open_tree
from nni_dream.automl.data.image_folders import has_split_folders, open_split_zips, read_image_tree
from nni_dream.automl.data.images import ArrayImages
from nni_dream.automl.data.origins import find_folder, missing
from nni_dream.automl.data.parts import Part, Parts

__all__ = ["read_cifar10", "read_cifar100"]

IMAGE_SHAPE: Final = (3, 32, 32)
CIFAR10_FOLDER: Final = "cifar-10-batches-py"
CIFAR100_FOLDER: Final = "cifar-100-python"


def _encode_latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2, in which the release was written."""
    del encoding  # latin1 and no other: there are codecs that unpack what is packed
    return text.encode("latin1")


# What a pickled array is made of, under the names that NumPy gave it over the years.
ALLOWED: Final = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode_latin1,
}


def read_cifar10(data_dir: Path) -> Parts:
    """Read ``cifar-10-batches-py``; else a zip or folder with train/<class>/ and test/<class>/.

    Raises:
        DataError: If there is neither, there are several zips, or a file is broken.
    """
    for folder in (data_dir, data_dir / "cifar10"):
        if folder.is_dir() and not any(
            (place / "batches.meta").exists() for place in (folder, folder / CIFAR10_FOLDER)
        ):
            parts = _read_images(folder)
            if parts is not None:
                return parts
    if data_dir.is_file():
        return read_image_tree(open_tree(data_dir))
    folder = find_folder("cifar10", data_dir, [CIFAR10_FOLDER], "batches.meta")
    classes = _read_names(folder / "batches.meta", "label_names")
    train = [folder / f"data_batch_{number}" for number in range(1, 6)]
    return Parts(
        _read_part("cifar10", train, "labels"), classes, test=_read_part("cifar10", [folder / "test_batch"], "labels")
    )


def _read_images(folder: Path) -> Parts | None:
    zips = open_split_zips(folder)
    if len(zips) > 1:
        raise DataError(f"{folder}: holds {len(zips)} zips with train/ and test/; give the path of one of them")
    if zips:
        return read_image_tree(zips[0])
    if (folder / "train").is_dir() and (folder / "test").is_dir() and has_split_folders(tree := open_tree(folder)):
        return read_image_tree(tree)
    return None


def read_cifar100(data_dir: Path, *, labels: str = "fine") -> Parts:
    """Read ``cifar-100-python``; ``labels`` are the 100 ``fine`` or the 20 ``coarse`` ones.

    Raises:
        DataError: If it is missing or broken, or ``labels`` is something else.
    """
    if labels not in ("fine", "coarse"):
        raise DataError(f"cifar100: labels is {labels!r}, expected 'fine' or 'coarse'")
    folder = find_folder("cifar100", data_dir, [CIFAR100_FOLDER], "meta")
    key = f"{labels}_labels"
    return Parts(
        _read_part("cifar100", [folder / "train"], key),
        _read_names(folder / "meta", f"{labels}_label_names"),
        test=_read_part("cifar100", [folder / "test"], key),
    )


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"asks for {module}.{name}, which no published batch does") from None


def _read_names(file: Path, key: str) -> list[str]:
    names = _field(_unpickled(file), key, file)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{file}: {key!r} is no list of class names")
    return names


def _read_part(name: str, files: Sequence[Path], label_key: str) -> Part:
    batches = [_read_batch(name, file, label_key) for file in files]
    pixels = np.concatenate([pixels for pixels, _ in batches]).reshape(-1, *IMAGE_SHAPE)  # (N, 3, 32, 32)
    targets = np.concatenate([targets for _, targets in batches])
    images = ArrayImages(pixels, lambda: "\n".join(file_identity(file) for file in files))
    return Part(images, targets, ", ".join(str(file) for file in files))


def _read_batch(name: str, file: Path, label_key: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    if not file.exists():
        raise missing(name, file.name, [file.parent])
    batch = _unpickled(file)
    pixels, labels = _field(batch, "data", file), _field(batch, label_key, file)
    n_values = int(np.prod(IMAGE_SHAPE))
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (n_values,):
        raise DataError(f"{file}: 'data' is not rows of {n_values} bytes")
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise DataError(f"{file}: {label_key!r} does not have one label for each of {len(pixels)} images")
    return pixels, np.array(labels, dtype=np.int64)


def _field(content: Any, key: str, file: Path) -> Any:
    if not isinstance(content, dict) or key not in content:
        raise DataError(f"{file}: has no {key!r}, is no CIFAR batch")
    return content[key]


def _unpickled(file: Path) -> Any:
    try:
        with file.open("rb") as stream:
            return _ArrayUnpickler(stream, encoding="latin1").load()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    except Exception as error:  # a broken pickle raises anything
        raise DataError(f"{file}: is no CIFAR batch, or a broken one: {error}") from error
