"""Stanford Cars, from its MATLAB lists and two folders of JPEGs, in the layout that torchvision reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.files import open_tree
from nni_dream.automl.data.images import EncodedImages
from nni_dream.automl.data.origins import find_folder, missing
from nni_dream.automl.data.parts import Part, Parts

__all__ = ["read_stanford_cars"]


def read_stanford_cars(data_dir: Path) -> Parts:
    """Read ``cars_train`` and ``cars_test`` with their lists.

    Raises:
        DataError: If a list or an image is missing or broken.
    """
    folder = find_folder("stanford_cars", data_dir, ["stanford_cars"], "devkit/cars_meta.mat")
    names = _read_variable(folder / "devkit" / "cars_meta.mat", "class_names")
    return Parts(
        _read_part(folder, "cars_train", folder / "devkit" / "cars_train_annos.mat"),
        [str(name) for name in np.atleast_1d(names)],
        test=_read_part(folder, "cars_test", folder / "cars_test_annos_withlabels.mat"),
    )


def _read_part(folder: Path, images: str, list_file: Path) -> Part:
    for needed in (list_file, folder / images):
        if not needed.exists():
            raise missing("stanford_cars", needed.name, [needed.parent])
    annotations = np.atleast_1d(_read_variable(list_file, "annotations"))
    if not {"fname", "class"} <= set(annotations.dtype.names or ()):
        raise DataError(
            f"{list_file}: its annotations lack 'fname' or 'class' (the list without labels has no 'class')"
        )
    tree = open_tree(folder / images)
    names = [str(name) for name in annotations["fname"]]
    for name in names:
        if name not in tree.files:
            raise DataError(f"{tree.where}/{name}: is missing, though {list_file} names it")
    targets = annotations["class"].astype(np.int64) - 1  # published from 1
    return Part(EncodedImages([tree.files[name] for name in names]), targets, str(list_file))


def _read_variable(file: Path, name: str) -> Any:
    import scipy.io  # type: ignore[import-untyped]

    try:
        return scipy.io.loadmat(str(file), squeeze_me=True, variable_names=[name])[name]
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    except Exception as error:  # a broken file makes scipy raise anything
        raise DataError(f"{file}: is no MATLAB file with {name!r}: {error}") from error
