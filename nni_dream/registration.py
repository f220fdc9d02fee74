"""Make ``tuner: {name: Dream}`` and ``assessor: {name: DreamAssessor}`` known to NNI."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import nni
from nni.runtime.config import get_config_file
from nni.tools.package_utils import AlgoMeta, get_algo_meta, register_algo_meta, unregister_algo_meta

__all__ = ["ASSESSOR_NAME", "TUNER_NAME", "is_registered", "register", "registry_path", "unregister"]

TUNER_NAME: Final = "Dream"
ASSESSOR_NAME: Final = "DreamAssessor"


def register() -> None:
    """Register the tuner and the assessor with the NNI of this Python environment; again is no change.

    Raises:
        OSError: If NNI's registry cannot be written.
    """
    for meta in _algorithms():
        register_algo_meta(meta)


def unregister() -> None:
    """Take both out of NNI's registry; what is not there is no error."""
    for meta in _algorithms():
        unregister_algo_meta(meta.name)


def is_registered() -> bool:
    """Whether NNI knows both, by their present classes."""
    found = [get_algo_meta(meta.name) for meta in _algorithms()]
    wanted = [meta.class_name for meta in _algorithms()]
    return [meta and meta.class_name for meta in found] == wanted


def registry_path() -> Path:
    """Return the file in which NNI keeps its registered algorithms."""
    return Path(get_config_file("registered_algorithms.yml"))


def _algorithms() -> list[AlgoMeta]:
    return [
        _algorithm(TUNER_NAME, "nni_dream.tuner.DreamTuner", "tuner"),
        _algorithm(ASSESSOR_NAME, "nni_dream.assessor.DreamAssessor", "assessor"),
    ]


def _algorithm(name: str, class_name: str, algo_type: str) -> AlgoMeta:
    return AlgoMeta(
        name=name,
        alias=None,
        class_name=class_name,
        accept_class_args=True,
        class_args=None,
        validator_class_name=None,
        algo_type=algo_type,
        is_advisor=False,
        is_builtin=False,
        nni_version=nni.__version__,
    )
