"""Every data set by its name, and the one function that loads them all."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from nni_dream.automl.data.arrays import read_arrays
from nni_dream.automl.data.cifar import read_cifar10, read_cifar100
from nni_dream.automl.data.datasets import Dataset, ImageDataset, Splits, TextDataset
from nni_dream.automl.data.digits import read_digits
from nni_dream.automl.data.errors import DataError, MissingDataError
from nni_dream.automl.data.food101 import read_food101
from nni_dream.automl.data.image_folders import read_folder
from nni_dream.automl.data.images import SIZE_HINT, WHITE, ArrayImages, ImageSize
from nni_dream.automl.data.imdb import read_imdb
from nni_dream.automl.data.mr import read_mr
from nni_dream.automl.data.origins import ORIGINS, fetch
from nni_dream.automl.data.parts import Part, Parts, check_parts
from nni_dream.automl.data.reuters import read_reuters
from nni_dream.automl.data.splitting import choose_rows
from nni_dream.automl.data.stanford_cars import read_stanford_cars
from nni_dream.automl.data.stl10 import read_stl10
from nni_dream.automl.data.storage import ImageStorage
from nni_dream.automl.data.tables import read_table
from nni_dream.automl.data.tiny_imagenet import read_tiny_imagenet, read_tiny_imagenet_regression
from nni_dream.automl.data.trec import read_trec
from nni_dream.automl.task_settings import Task

__all__ = ["list_datasets", "load_dataset"]

IMAGE_CLASSIFICATION: Final[tuple[Task, ...]] = ("image_classification",)
IMAGE_REGRESSION: Final[tuple[Task, ...]] = ("image_regression",)
TEXT_CLASSIFICATION: Final[tuple[Task, ...]] = ("text_classification",)


class _Entry(NamedTuple):
    read: Callable[..., Parts]
    tasks: tuple[Task, ...]  # the first is the default
    image_size: ImageSize | None = None  # None: as it is in the files
    origin: str | None = None  # key of ORIGINS; None: nothing to download


ENTRIES: Final = {  # name -> _Entry
    "digits": _Entry(read_digits, IMAGE_CLASSIFICATION),
    "cifar10": _Entry(read_cifar10, IMAGE_CLASSIFICATION, origin="cifar10"),
    "cifar100": _Entry(read_cifar100, IMAGE_CLASSIFICATION, origin="cifar100"),
    "stl10": _Entry(read_stl10, IMAGE_CLASSIFICATION, origin="stl10"),
    # DREAM 5.1 has the sizes of the next two; of Stanford Cars in the order 360 * 240.
    "food101": _Entry(read_food101, IMAGE_CLASSIFICATION, ImageSize(300, 300), "food101"),
    "stanford_cars": _Entry(read_stanford_cars, IMAGE_CLASSIFICATION, ImageSize(240, 360), "stanford_cars"),
    "tiny_imagenet": _Entry(read_tiny_imagenet, IMAGE_CLASSIFICATION, origin="tiny_imagenet"),
    "tiny_imagenet_regression": _Entry(read_tiny_imagenet_regression, IMAGE_REGRESSION, origin="tiny_imagenet"),
    "reuters": _Entry(read_reuters, TEXT_CLASSIFICATION, origin="reuters"),
    "trec": _Entry(read_trec, TEXT_CLASSIFICATION, origin="trec"),
    "imdb": _Entry(read_imdb, TEXT_CLASSIFICATION, origin="imdb"),
    "mr": _Entry(read_mr, TEXT_CLASSIFICATION, origin="mr"),
    "folder": _Entry(read_folder, IMAGE_CLASSIFICATION),
    "table": _Entry(read_table, TEXT_CLASSIFICATION),
    "arrays": _Entry(read_arrays, (*IMAGE_CLASSIFICATION, *IMAGE_REGRESSION)),
}


def list_datasets(task: Task | None = None) -> list[str]:
    """Names for :func:`load_dataset`: all, or those of one task."""
    return [name for name, entry in ENTRIES.items() if task is None or task in entry.tasks]


def load_dataset(
    name: str,
    data_dir: Path | str,
    *,
    task: Task | None = None,
    seed: int = 0,
    n_train: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    download: bool = False,
    storage: ImageStorage | None = None,
    **options: Any,
) -> Splits:
    """Load a data set and split it; the same arguments give the same rows.

    Validation is a fifth of train, stratified, unless one is published.  Test is the published one; where there is
    none, a tenth that no seed changes.  Test images are decoded only when they are asked for.

    Args:
        name: One of :func:`list_datasets`.
        data_dir: The folder that holds the data, or a folder around it; for users' own data its path.
        task: Must fit the data set; None: what it is for.
        seed: Of the choice of validation rows, and of the rows that ``n_train`` keeps.
        n_train: Training rows to keep, stratified; validation shrinks in proportion, test stays whole.
        image_size: Side, or (height, width), in pixels; None: that of the paper, else of the files, which
            must all have one.
        download: Fetch the data if it is missing.  Nothing is fetched otherwise.
        storage: Memory limit and cache folder of decoded images; None: the usual ones.
        options: The data set's own: ``labels`` of trec and cifar100, ``quantity`` of tiny_imagenet_regression,
            ``text_column``, ``label_column``, ``encoding`` and ``quoting`` of table.

    Raises:
        DataError: With one message, if an argument does not fit or a file is missing or broken.
    """
    entry, task = _find_entry(name, task)
    size = _check_size(name, image_size, task) or entry.image_size
    read = _bind_options(name, entry, task, options)
    parts = _read(entry.origin if download else None, read, Path(data_dir).expanduser())
    check_parts(name, parts)
    chosen = choose_rows(
        parts.train.targets,
        None if parts.validation is None else parts.validation.targets,
        has_test=parts.test is not None,
        seed=seed,
        n_train=n_train,
        where=parts.train.where,
    )
    storage = storage or ImageStorage()
    train = _make_dataset(parts.train, chosen.train, storage, size)
    validation = _make_dataset(parts.validation or parts.train, chosen.validation, storage, size, like=train)
    test = _make_dataset(parts.test or parts.train, chosen.test, storage, size, like=train)
    for dataset in (train, validation):
        if isinstance(dataset, ImageDataset):
            _ = dataset.images  # a broken image is told now, not in the first epoch
    classes = None if parts.classes is None else list(parts.classes)
    return Splits(
        train,
        validation,
        test,
        classes,
        task,
        name,
        has_own_test=chosen.test is None,
        largest_pixel=_largest_pixel(parts.train, chosen.train),
        notes=parts.notes,
    )


def _largest_pixel(part: Part, rows: NDArray[np.int64]) -> int:
    return part.examples.take(rows).largest_pixel() if isinstance(part.examples, ArrayImages) else WHITE


def _find_entry(name: str, task: Task | None) -> tuple[_Entry, Task]:
    if name not in ENTRIES:
        raise DataError(f"data set {name!r} is unknown; known are {', '.join(ENTRIES)}")
    entry = ENTRIES[name]
    if task is not None and task not in entry.tasks:
        raise DataError(f"{name}: task is {task!r}, but it is for {' or '.join(entry.tasks)}")
    return entry, task or entry.tasks[0]


def _check_size(name: str, image_size: int | tuple[int, int] | None, task: Task) -> ImageSize | None:
    if image_size is None:
        return None
    if task == "text_classification":
        raise DataError(f"{name}: image_size is {image_size}, but texts have none; leave it out")
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2 or min(sides) < 1:
        raise DataError(f"{name}: image_size is {image_size}, expected a side or (height, width) of 1 pixel or more")
    return ImageSize(*sides)


def _bind_options(name: str, entry: _Entry, task: Task, options: dict[str, Any]) -> Callable[[Path], Parts]:
    known = [key for key in inspect.signature(entry.read).parameters if key not in ("data_dir", "task")]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise DataError(f"{name}: option {unknown[0]!r} is unknown; its options: {', '.join(known) or 'none'}")
    if len(entry.tasks) > 1:
        options = {**options, "task": task}
    return partial(entry.read, **options)


def _read(origin: str | None, read: Callable[[Path], Parts], data_dir: Path) -> Parts:
    try:
        return read(data_dir)
    except MissingDataError:
        if origin is None or origin not in ORIGINS:
            raise
    data_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(data_dir / f".{origin}.lock"):
        try:
            return read(data_dir)  # another process may have fetched it meanwhile
        except MissingDataError:
            fetch(origin, data_dir)
    return read(data_dir)


def _make_dataset(
    part: Part,
    rows: NDArray[np.int64] | None,
    storage: ImageStorage,
    size: ImageSize | None,
    *,
    like: Dataset | None = None,
) -> Dataset:
    """Take the rows of a part; without a size, its images must have that of the dataset that it is to be like."""
    chosen = np.arange(len(part.targets)) if rows is None else rows
    targets: Tensor = torch.from_numpy(part.targets[chosen])
    examples = part.examples
    if isinstance(examples, Sequence):
        return TextDataset([examples[row] for row in chosen], targets)
    load = partial(storage.load, examples.take(chosen), size)
    if isinstance(like, ImageDataset):
        return ImageDataset(partial(_load_alike, load, part.where, like), targets)
    return ImageDataset(load, targets)


def _load_alike(load: Callable[[], Tensor], where: str, train: ImageDataset) -> Tensor:
    """A model is asked for images at the size of its training images: a score at another would be of another model."""
    images = load()
    ours, theirs = (ImageSize(*each.shape[2:]) for each in (images, train.images))
    if ours != theirs:
        raise DataError(
            f"{where}: images are {ours.text()}, those of train are {theirs.text()}: images differ in size, {SIZE_HINT}"
        )
    return images
