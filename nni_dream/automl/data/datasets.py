"""What a trial trains on: images as bytes, or texts, and their targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from nni_dream.automl.data.images import WHITE
from nni_dream.automl.task_settings import Task

__all__ = ["Dataset", "ImageDataset", "Splits", "TextDataset"]


class ImageDataset:
    """Images and their targets, row by row."""

    def __init__(self, load_images: Callable[[], Tensor], targets: Tensor) -> None:
        """Keep the targets; the images are loaded when they are first asked for.

        Args:
            load_images: Returns uint8 (N, C, H, W); called at most once.
            targets: int64 (N,) class indices, or float32 (N,) or (N, k) for regression.
        """
        self._load_images = load_images
        self.targets = targets

    @cached_property
    def images(self) -> Tensor:
        """Pixels 0..255, uint8 (N, C, H, W); memory-mapped, copy on write, when they are above the memory limit.

        Raises:
            DataError: If a file cannot be read, at the first use only.
        """
        return self._load_images()

    def __len__(self) -> int:
        return len(self.targets)


class TextDataset:
    """Texts and the indices of their classes, row by row."""

    def __init__(self, texts: Sequence[str], targets: Tensor) -> None:
        """Keep both; ``targets`` is int64 (N,)."""
        self.texts = list(texts)
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)


Dataset = ImageDataset | TextDataset


class Splits(NamedTuple):
    """Disjoint rows of one data set.  A search sees ``train`` and ``validation`` and never ``test``."""

    train: Dataset
    validation: Dataset
    test: Dataset  # its images are decoded only when they are asked for
    classes: list[str] | None  # by target index; None for regression
    task: Task
    name: str
    has_own_test: bool = True  # a published part; False: drawn from the rows of train
    largest_pixel: int = WHITE  # white, in the training images as they are before they are resized
    notes: tuple[str, ...] = ()  # what the user should know of the files, a sentence each
