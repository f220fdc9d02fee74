"""Tiny ImageNet (200 classes, 64x64), unpacked or in its zip; to classify, or to regress a number of the image.

The published validation part is the test part here: the labels of the published test part are withheld.

What to regress: the paper (section 5.1) only says that it uses the data set for "regression tasks".  Its losses speak
for the index of the class taken as a number, 0 to 199: always saying the mean costs a squared error of
(200² - 1) / 12 = 3,333, and its Table 4 begins at 3,887 and ends at 1,371, more than coordinates of a 64x64 image can
cost.  The authors' prototype, too, loads the data set with class labels alone.  So ``class_index`` is the default, in
the order of ``wnids.txt`` (which order the paper had is not known, and results depend on it); ``bounding_box`` is the
box of the object, four numbers in pixels of the published 64x64 image: left, top, right, bottom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.files import FileTree, StoredFile, open_tree
from nni_dream.automl.data.image_folders import is_image
from nni_dream.automl.data.images import EncodedImages
from nni_dream.automl.data.origins import find_folder, missing
from nni_dream.automl.data.parts import Part, Parts, encode_labels

__all__ = ["read_tiny_imagenet", "read_tiny_imagenet_regression"]

NAME: Final = "tiny_imagenet"
FOLDER: Final = "tiny-imagenet-200"
QUANTITIES: Final = ("class_index", "bounding_box")


class _Example(NamedTuple):
    image: StoredFile
    wnid: str  # name of its class in WordNet, n02124075
    box: tuple[float, ...]  # left, top, right, bottom; pixels


def read_tiny_imagenet(data_dir: Path) -> Parts:
    """Read images and classes, which are called by their id and words: ``n01443537 goldfish, Carassius auratus``.

    Raises:
        DataError: If a file is missing or broken; the message names it and the line.
    """
    tree = _open(data_dir)
    wnids = _read_wnids(tree)
    train, test = _read_train(tree, wnids), _read_validation(tree)
    return Parts(
        _class_part(train, wnids, f"{tree.where}/train"),
        _class_names(tree, wnids),
        test=_class_part(test, wnids, f"{tree.where}/val"),
    )


def read_tiny_imagenet_regression(data_dir: Path, *, quantity: str = "class_index") -> Parts:
    """Read images and the number, or the four numbers, to regress (see the top of this module).

    Raises:
        DataError: As for the classes, or if ``quantity`` is another.
    """
    if quantity not in QUANTITIES:
        raise DataError(f"tiny_imagenet_regression: quantity is {quantity!r}, expected one of {', '.join(QUANTITIES)}")
    tree = _open(data_dir)
    wnids = _read_wnids(tree)
    train, test = _read_train(tree, wnids), _read_validation(tree)
    parts = [
        _class_part(examples, wnids, f"{tree.where}/{folder}") for examples, folder in ((train, "train"), (test, "val"))
    ]
    if quantity == "class_index":
        numbers = [part.targets.astype(np.float32) for part in parts]  # (N,)
    else:
        numbers = [np.array([example.box for example in examples], np.float32) for examples in (train, test)]  # (N, 4)
    train_part, test_part = (part._replace(targets=own) for part, own in zip(parts, numbers, strict=True))
    return Parts(train_part, None, test=test_part)


def _open(data_dir: Path) -> FileTree:
    """The published folder, or the same inside the published zip."""
    archives = [data_dir] if data_dir.is_file() else [base / f"{FOLDER}.zip" for base in (data_dir, data_dir / NAME)]
    for archive in archives:
        if archive.is_file():
            return open_tree(archive).under(FOLDER)
    return open_tree(find_folder(NAME, data_dir, [FOLDER], "wnids.txt"))


def _read_lines(tree: FileTree, name: str) -> list[str]:
    if name not in tree.files:
        raise missing(NAME, name, [Path(tree.where)])
    file = tree.files[name]
    try:
        text = file.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file.where}: is not utf-8 text: {error.reason} at offset {error.start}") from error
    return text.splitlines()


def _read_wnids(tree: FileTree) -> list[str]:
    return [line.strip() for line in _read_lines(tree, "wnids.txt") if line.strip()]


def _class_names(tree: FileTree, wnids: Sequence[str]) -> list[str]:
    words = dict(line.split("\t", 1) for line in _read_lines(tree, "words.txt") if "\t" in line)
    return [f"{wnid} {words[wnid]}" if wnid in words else wnid for wnid in wnids]


def _read_train(tree: FileTree, wnids: Sequence[str]) -> list[_Example]:
    folders = tree.by_folder()
    return [example for wnid in wnids for example in _read_class(tree, wnid, folders.get(f"train/{wnid}/images", {}))]


def _read_class(tree: FileTree, wnid: str, images: Mapping[str, StoredFile]) -> list[_Example]:
    list_name = f"train/{wnid}/{wnid}_boxes.txt"
    boxes = {}
    for number, line in enumerate(_read_lines(tree, list_name), start=1):
        image, *corners = line.split("\t")
        boxes[image] = _read_box(corners, f"{tree.where}/{list_name}:{number}")
    examples = []
    for name, file in images.items():
        if not is_image(name):
            continue
        if name not in boxes:
            raise DataError(f"{file.where}: has no line in {list_name}")
        examples.append(_Example(file, wnid, boxes[name]))
    if not examples:
        raise DataError(f"{tree.where}/train/{wnid}/images: holds no image of class {wnid}")
    return examples


def _read_validation(tree: FileTree) -> list[_Example]:
    list_name = "val/val_annotations.txt"
    images = tree.by_folder().get("val/images", {})
    examples = []
    for number, line in enumerate(_read_lines(tree, list_name), start=1):
        where = f"{tree.where}/{list_name}:{number}"
        name, _, rest = line.partition("\t")
        wnid, *corners = rest.split("\t")
        if name not in images:
            raise DataError(f"{where}: names the image {name!r}, which is not in val/images")
        examples.append(_Example(images[name], wnid, _read_box(corners, where)))
    return examples


def _read_box(corners: Sequence[str], where: str) -> tuple[float, ...]:
    try:
        left, top, right, bottom = (float(corner) for corner in corners)
    except ValueError as error:
        raise DataError(f"{where}: has no box of four numbers after the name, but {list(corners)}") from error
    return left, top, right, bottom


def _class_part(examples: Sequence[_Example], wnids: Sequence[str], where: str) -> Part:
    targets = encode_labels(
        [example.wnid for example in examples], wnids, [example.image.where for example in examples]
    )
    return Part(EncodedImages([example.image for example in examples]), targets, where)
