"""Importing the library that a hook is for."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from nni_dream.torchvision_compatibility import ensure_torchvision

__all__ = ["import_library"]


def import_library(candidates: Sequence[str], *, extra: str) -> ModuleType:
    """Import the first of the modules that is there; one that the trial has imported already comes before the others.

    Lightning and transformers import torchvision where it is installed, so a torchvision that was compiled for
    another torch is mended first.

    Args:
        candidates: Absolute module names, all with the same content.
        extra: The extra of this package that installs one of them.

    Raises:
        ImportError: If none is installed.
    """
    with contextlib.suppress(ImportError):  # they do without it
        ensure_torchvision()
    for name in sorted(candidates, key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # the library is there, but one that it needs is not
    wanted = " or ".join(repr(name) for name in candidates)
    raise ImportError(
        f"nni_dream.integrations.{extra} needs {wanted}: pip install '.[{extra}]' in nni_dream's checkout"
    )
