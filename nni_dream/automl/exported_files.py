"""The files of an exported model: its weights, and what builds the network around them.

``weights.safetensors`` and ``model.json``; neither can run code when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from nni_dream.automl.kept_model import ModelDescription, read_description, rebuild

__all__ = ["CONFIGURATION_FILE", "LOCAL", "WEIGHTS_FILE", "ExportedModelError", "read_model", "write_model"]

CONFIGURATION_FILE: Final = "model.json"
WEIGHTS_FILE: Final = "weights.safetensors"
FORMAT: Final = 1  # of the configuration; one that is not known here is refused
LOCAL: Final = ("data_dir", "download")  # of the data's arguments: true on one machine only


class ExportedModelError(ValueError):
    """A folder does not hold an exported model; the message names the file."""


def write_model(folder: Path, state: Mapping[str, Tensor], description: ModelDescription) -> None:
    """Write both files into a folder that is there; tensors that share memory are written each by itself."""
    data = {name: value for name, value in description.data.items() if name not in LOCAL}
    fields = {"format": FORMAT, **asdict(replace(description, data=data))}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in fields.items())
    (folder / CONFIGURATION_FILE).write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    (folder / WEIGHTS_FILE).write_bytes(save(tensors))  # safetensors itself would write for this user alone


def read_model(folder: Path) -> tuple[nn.Module, ModelDescription]:
    """Return the model, on the CPU and in evaluation mode, and its description.

    Raises:
        ExportedModelError: If a file is missing or broken, or the two do not fit.
    """
    description = _read_configuration(folder)
    weights = folder / WEIGHTS_FILE
    try:
        return rebuild(description, load_file(weights)), description
    except OSError as error:
        raise ExportedModelError(f"{weights}: cannot be read: {_reason(error)}; export the model again") from error
    except SafetensorError as error:
        raise ExportedModelError(f"{weights}: is broken: {error}; copy or export the model again") from error
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ExportedModelError(f"{folder}: {WEIGHTS_FILE} and {CONFIGURATION_FILE} do not fit: {reason}") from error


def _read_configuration(folder: Path) -> ModelDescription:
    path = folder / CONFIGURATION_FILE
    if not folder.is_dir():
        raise ExportedModelError(f"{folder}: is no folder; give one that `nni-dream export` has written")
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        return read_description(_of_this_format(written))
    except OSError as error:
        raise ExportedModelError(
            f"{path}: cannot be read: {_reason(error)}; give an exported model's folder"
        ) from error
    except (ValueError, RecursionError) as error:  # the decoders of JSON and UTF-8 raise them too
        raise ExportedModelError(f"{path}: is not what `nni-dream export` writes: {error}") from error


def _of_this_format(written: Any) -> dict[str, Any]:
    found = written.get("format") if isinstance(written, dict) else None
    if found != FORMAT:
        raise ValueError(f"format is {found!r}, this version reads {FORMAT}")
    return {name: value for name, value in written.items() if name != "format"}


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
