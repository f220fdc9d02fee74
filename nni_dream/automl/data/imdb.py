"""IMDB film reviews, from the folders of aclImdb: {train,test}/{neg,pos}/*.txt; the unlabelled ones are left alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import numpy as np

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.files import read_text
from nni_dream.automl.data.origins import find_folder, missing
from nni_dream.automl.data.parts import Part, Parts

__all__ = ["read_imdb"]

CLASSES: Final = ("neg", "pos")


def read_imdb(data_dir: Path) -> Parts:
    """Read every review; ``<br />`` and all else stays as it is.

    Raises:
        DataError: If a folder is missing or has no review, or a review is empty or not UTF-8.
    """
    folder = find_folder("imdb", data_dir, ["aclImdb"], "train/pos")
    return Parts(_read_part(folder / "train"), CLASSES, test=_read_part(folder / "test"))


def _read_part(folder: Path) -> Part:
    reviews = [_read_class(folder / name) for name in CLASSES]
    targets = np.repeat(np.arange(len(CLASSES)), [len(own) for own in reviews])
    return Part([text for own in reviews for text in own], targets, str(folder))


def _read_class(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise missing("imdb", f"{folder.parent.name}/{folder.name}/", [folder.parent.parent])
    names = sorted(name for name in os.listdir(folder) if name.endswith(".txt"))
    if not names:
        raise DataError(f"{folder}: holds no review (*.txt)")
    return [_read_review(folder / name) for name in names]


def _read_review(file: Path) -> str:
    text = read_text(file).strip()
    if not text:
        raise DataError(f"{file}: the review is empty")
    return text
