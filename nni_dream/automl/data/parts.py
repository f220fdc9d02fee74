"""A data set as its files have it, before it is split: what every reader returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.images import ArrayImages, Images

__all__ = ["PART_NAMES", "Part", "Parts", "check_parts", "encode_labels", "known_classes", "listed_classes"]

N_NAMED: Final = 5  # classes that a message lists before it only counts
PART_NAMES: Final = {  # part -> what users call its folder or file, in lower case
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}


class Part(NamedTuple):
    """The published training, validation or test part."""

    examples: Images | Sequence[str]
    targets: NDArray[Any]  # int64 (N,) class indices, or float32 (N,) or (N, k)
    where: str  # the file or folder, for messages


class Parts(NamedTuple):
    """Train, and what else is published; what is not is taken from train."""

    train: Part
    classes: Sequence[str] | None  # None: regression
    validation: Part | None = None
    test: Part | None = None
    notes: tuple[str, ...] = ()  # what the user should know of the files, a sentence each


def known_classes(labels: Iterable[str]) -> list[str]:
    """The distinct labels: in numeric order when all are whole numbers, else in alphabetic order."""
    distinct = set(labels)
    if all(label.removeprefix("-").isdecimal() for label in distinct):
        return sorted(distinct, key=lambda label: (int(label), label))
    return sorted(distinct)


def encode_labels(labels: Sequence[str], classes: Sequence[str], places: Sequence[str]) -> NDArray[np.int64]:
    """Return the index of each label, int64 (N,).

    Args:
        places: Where each label stands, for the message.

    Raises:
        DataError: If a label is not among the classes.
    """
    index = {name: position for position, name in enumerate(classes)}
    for label, place in zip(labels, places, strict=True):
        if label not in index:
            raise DataError(f"{place}: label {label!r} is not a class of train; classes: {listed_classes(classes)}")
    return np.array([index[label] for label in labels], dtype=np.int64)


def check_parts(name: str, parts: Parts) -> None:
    """Check what holds for every data set.

    Raises:
        DataError: If a part is empty, if examples and targets do not pair, a target is no number, the parts differ
            in channels or in numbers to predict, there are fewer than two classes, or a class has no training example.
    """
    for part in (parts.train, parts.validation, parts.test):
        if part is not None:
            _check_part(name, part, None if parts.classes is None else len(parts.classes))
            _check_alike(parts.train, part)
    if parts.classes is None:
        return
    if len(parts.classes) < 2:
        raise DataError(f"{parts.train.where}: {name} has the single class {parts.classes[0]!r}, needs two or more")
    found = Counter(parts.train.targets.tolist())
    empty = [label for index, label in enumerate(parts.classes) if not found[index]]
    if empty:
        raise DataError(f"{parts.train.where}: no training example of class {listed_classes(empty)}")


def _check_part(name: str, part: Part, n_classes: int | None) -> None:
    if len(part.examples) != len(part.targets):
        raise DataError(f"{part.where}: {len(part.examples)} examples but {len(part.targets)} targets")
    if len(part.targets) == 0:
        raise DataError(f"{part.where}: {name} has no example here")
    if n_classes is None:
        if not np.isfinite(part.targets).all():
            row = int(np.flatnonzero(~np.isfinite(part.targets.reshape(len(part.targets), -1)).all(axis=1))[0])
            raise DataError(f"{part.where}: target of row {row} is {part.targets[row]}, expected a finite number")
        return
    wrong = np.flatnonzero((part.targets < 0) | (part.targets >= n_classes))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(f"{part.where}: label of row {row} is {part.targets[row]}, expected 0 to {n_classes - 1}")


def _check_alike(train: Part, other: Part) -> None:
    """Check that a model of one part can be scored on the other; sizes are compared when they have been read."""
    ours, theirs = (np.prod(part.targets.shape[1:], dtype=int) for part in (train, other))
    if ours != theirs:
        raise DataError(f"{other.where}: has {theirs} numbers to predict for each image, {train.where} has {ours}")
    if not isinstance(train.examples, ArrayImages) or not isinstance(other.examples, ArrayImages):
        return  # texts, or files of images, which all become RGB
    ours, theirs = train.examples.n_channels, other.examples.n_channels
    if ours != theirs:
        raise DataError(
            f"{other.where}: images have {theirs} channels, those of {train.where} have {ours}; make them alike"
        )


def listed_classes(names: Sequence[str]) -> str:
    """Return the names as a message lists them: five, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:N_NAMED])
    return shown if len(names) <= N_NAMED else f"{shown} and {len(names) - N_NAMED} more"
