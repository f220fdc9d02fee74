"""What of a data set can be read, but may surprise: sentences for the user, before a search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nni_dream.automl.data.datasets import Splits, TextDataset

__all__ = ["data_notes"]

SHARED_SHARE: Final = 0.05  # of a part's texts; TREC as published has 0.02 of such texts
# As pandas reads and programs write a missing value.
NO_LABEL: Final = frozenset({"nan", "na", "n/a", "#n/a", "<na>", "null", "none"})


def data_notes(data: Splits) -> list[str]:
    """Return a sentence for each thing that may surprise, in the files or in what was read of them."""
    if not isinstance(data.train, TextDataset):
        return list(data.notes)
    return [*data.notes, *_shared_texts(data, data.train), *_doubtful_classes(data, data.train)]


def _shared_texts(data: Splits, train: TextDataset) -> Iterator[str]:
    """Texts of validation or test that training sees too, in more than a few rows."""
    seen = set(train.texts)
    for name, part in (("validation", data.validation), ("test", data.test)):
        assert isinstance(part, TextDataset)  # of one kind with train
        n_shared = sum(text in seen for text in part.texts)
        if n_shared > SHARED_SHARE * len(part):
            yield (
                f"{n_shared} of the {len(part)} {name} texts are training texts too: "
                f"the {name} score says less about new texts"
            )


def _doubtful_classes(data: Splits, train: TextDataset) -> Iterator[str]:
    """Classes of texts whose name may be that of a missing value."""
    for index, name in enumerate(data.classes or ()):
        if name.lower() in NO_LABEL:
            n_rows = int((train.targets == index).sum())
            yield f"{name!r} is a class, of {n_rows} training texts; if it stands for no label, take those rows out"
