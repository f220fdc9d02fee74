"""scikit-learn's handwritten digits: 1,797 grey images of 8x8 pixels, installed with it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from nni_dream.automl.data.images import ArrayImages
from nni_dream.automl.data.parts import Part, Parts

__all__ = ["read_digits"]

LARGEST: Final = 16.0  # the data set's white


def read_digits(data_dir: Path) -> Parts:
    """Read the images, with their 0..16 stretched to 0..255; the data folder is not looked at, no test is published."""
    del data_dir
    import sklearn  # half a second that only this data set costs
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / LARGEST)).astype(np.uint8)[:, None]  # (1797, 1, 8, 8)
    images = ArrayImages(pixels, lambda: f"digits of scikit-learn {sklearn.__version__}")
    classes = [str(name) for name in digits.target_names]
    return Parts(Part(images, digits.target.astype(np.int64), "sklearn.datasets.load_digits"), classes)
