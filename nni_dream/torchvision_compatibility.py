"""Import torchvision beside a torch that it was not compiled for.

The torchvision wheel of the package index is linked against CUDA.  Beside a CPU build of torch its compiled library
cannot be loaded, and ``import torchvision`` fails with "operator torchvision::nms does not exist", because it describes
two operators that only this library declares.  Once they are declared, models, transforms and data sets work; the
compiled operators themselves (``nms``, ``roi_align`` ...) stay missing and say so when called.
"""

from __future__ import annotations

import functools
import importlib
import re
from types import ModuleType
from typing import Final

import torch

__all__ = ["ensure_torchvision"]

OPERATOR_SCHEMAS: Final = {  # name -> schema; those that torchvision 0.28 describes at import
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
MISSING_OPERATOR: Final = re.compile(r"operator torchvision::(\w+) does not exist")


def ensure_torchvision() -> ModuleType:
    """Import torchvision, declaring the operators it misses, and return it.

    Where torchvision imports by itself nothing is declared: a second declaration would clash with its own.

    Raises:
        ImportError: If torchvision is not installed.
        RuntimeError: If it fails for another reason than these operators.
    """
    for _ in OPERATOR_SCHEMAS:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            missing = MISSING_OPERATOR.search(str(error))
            if missing is None or missing[1] not in OPERATOR_SCHEMAS:
                raise
            _fragment().define(OPERATOR_SCHEMAS[missing[1]])  # type: ignore[no-untyped-call]
    return importlib.import_module("torchvision")


@functools.cache  # torch forgets the declarations when their library object is collected
def _fragment() -> torch.library.Library:
    return torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
