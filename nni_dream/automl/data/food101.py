"""Food-101, from its JSON lists and folders of JPEGs: 750 training and 250 test images of each class as published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.files import FileTree, StoredFile, open_tree, read_text
from nni_dream.automl.data.images import EncodedImages
from nni_dream.automl.data.origins import find_folder, missing
from nni_dream.automl.data.parts import Part, Parts, encode_labels

__all__ = ["read_food101"]


def read_food101(data_dir: Path) -> Parts:
    """Read ``food-101``: ``meta/train.json``, ``meta/test.json`` and ``images/<class>/<number>.jpg``.

    Raises:
        DataError: If a list is missing or broken, or an image that it names is not there.
    """
    folder = find_folder("food101", data_dir, ["food-101"], "meta/train.json")
    if not (folder / "meta" / "test.json").exists():
        raise missing("food101", "meta/test.json", [folder])
    tree = open_tree(folder / "images") if (folder / "images").is_dir() else None
    if tree is None:
        raise missing("food101", "images/", [folder])
    classes = sorted(_read_list(folder / "meta" / "train.json"))
    train, test = (_read_part(folder / "meta" / f"{part}.json", tree, classes) for part in ("train", "test"))
    return Parts(train, classes, test=test)


def _read_part(list_file: Path, tree: FileTree, classes: Sequence[str]) -> Part:
    images: list[StoredFile] = []
    labels = []
    for label, names in _read_list(list_file).items():
        for name in names:
            if f"{name}.jpg" not in tree.files:
                raise DataError(f"{tree.where}/{name}.jpg: is missing, though {list_file} names it")
            images.append(tree.files[f"{name}.jpg"])
            labels.append(label)
    return Part(EncodedImages(images), encode_labels(labels, classes, [str(list_file)] * len(labels)), str(list_file))


def _read_list(file: Path) -> dict[str, list[str]]:
    """Class -> names of its images, without their ending."""
    try:
        content = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise DataError(f"{file}: is no JSON: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(names, list) for names in content.values()):
        raise DataError(f"{file}: is no object of class: [names of images]")
    return content
