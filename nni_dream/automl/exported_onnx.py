"""An exported model as an ONNX file, and the check that it answers as PyTorch does.

The graph takes what `ExportedModel.prepare` returns: ``pixels``, uint8 (N, C, H, W), or ``ids``, as int64 (N, L).  It
gives ``probabilities`` and ``logits`` of a classifier, ``numbers`` of a regression, (N, n_outputs) each.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from nni_dream.automl.acceleration import as_input
from nni_dream.automl.kept_model import ModelDescription
from nni_dream.automl.models.text import text_length
from nni_dream.automl.text_settings import TextSettings

__all__ = ["CHECKED_BATCHES", "ONNX_FILE", "TOLERANCE", "OnnxError", "check_onnx", "write_onnx"]

ONNX_FILE: Final = "model.onnx"
# Largest difference to PyTorch, relative to the largest output of a batch or to 1.  Both compute in float32 and add in
# another order.
TOLERANCE: Final = 1e-4
CHECKED_BATCHES: Final = (1, 2, 5)  # inputs at a time; the graph is made from two
NEEDED: Final = ("onnx", "onnxscript", "onnxruntime")
N_IDS: Final = 40  # length of the texts that are checked where a network takes any


class OnnxError(RuntimeError):
    """A model cannot be written as ONNX, or answers differently there."""


class _Graph(nn.Module):
    """The network from prepared inputs to answers."""

    def __init__(self, network: nn.Module, *, is_classifier: bool) -> None:
        super().__init__()
        self.network = network
        self.is_classifier = is_classifier

    def forward(self, prepared: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(as_input(prepared))
        return (outputs.softmax(1), outputs) if self.is_classifier else (outputs,)


def write_onnx(path: Path, network: nn.Module, description: ModelDescription) -> None:
    """Write the network as one ONNX file that takes any number of inputs.

    Args:
        network: On the CPU and in evaluation mode.

    Raises:
        OnnxError: If a package is missing, or a layer has no form in ONNX.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise OnnxError(f"ONNX needs {', '.join(missing)}: pip install '.[onnx]' in nni_dream's checkout")
    is_classifier = description.classes is not None
    n_inputs = torch.export.Dim("n_inputs")
    sizes = {0: n_inputs}
    if description.task == "text_classification" and _length(description) is None:
        sizes[1] = torch.export.Dim("n_ids")
    try:
        with _quiet():
            torch.onnx.export(
                _Graph(network, is_classifier=is_classifier).eval(),
                (_example(description, 2, seed=0),),
                path,
                dynamo=True,
                dynamic_shapes=(sizes,),
                input_names=["ids" if description.task == "text_classification" else "pixels"],
                output_names=["probabilities", "logits"] if is_classifier else ["numbers"],
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # whatever tracing, translation and the optimiser raise
        reason = str(error).strip().partition("\n")[0]
        raise OnnxError(f"this network cannot be written as ONNX: {type(error).__name__}: {reason}") from error


def check_onnx(path: Path, network: nn.Module, description: ModelDescription) -> float:
    """Return the largest difference between ONNX Runtime and PyTorch over batches of random inputs.

    Raises:
        OnnxError: If it is above `TOLERANCE`, or ONNX Runtime cannot run the file.
    """
    import onnxruntime  # type: ignore[import-not-found,import-untyped,unused-ignore]

    graph = _Graph(network, is_classifier=description.classes is not None).eval()
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (name,) = [each.name for each in session.get_inputs()]
        return max(_checked(session, name, graph, _example(description, n, seed=n)) for n in CHECKED_BATCHES)
    except OnnxError:
        raise
    except Exception as error:  # ONNX Runtime has no class of its own for them
        reason = " ".join(str(error).split())
        raise OnnxError(f"ONNX Runtime cannot run {path.name}: {type(error).__name__}: {reason}") from error


def _checked(session: Any, name: str, graph: nn.Module, example: Tensor) -> float:
    with torch.inference_mode():
        expected = [output.numpy() for output in graph(example)]
    answered = session.run(None, {name: example.numpy()})
    pairs = zip(answered, expected, strict=True)
    differences = [float(np.abs(onnx - own).max() / max(1.0, np.abs(own).max())) for onnx, own in pairs]
    if not all(difference <= TOLERANCE for difference in differences):  # also where one is NaN
        raise OnnxError(
            f"ONNX Runtime answers differently: by {max(differences):.2g} of the largest output, over batches of "
            f"{len(example)}; {TOLERANCE:.0e} is allowed"
        )
    return max(differences)


def _example(description: ModelDescription, n_inputs: int, *, seed: int) -> Tensor:
    """Return random inputs: as `ExportedModel.prepare` has them, but for int64 ids, which ONNX asks for."""
    generator = torch.Generator().manual_seed(seed)
    if description.task != "text_classification":
        shape = (n_inputs, *(description.image_shape or ()))
        return torch.randint(description.largest_pixel + 1, shape, generator=generator, dtype=torch.uint8)
    length = _length(description) or N_IDS
    return torch.randint(len(description.vocabulary()), (n_inputs, length), generator=generator)


def _length(description: ModelDescription) -> int | None:
    """Return how many ids a text has; ``None``: as many as it likes."""
    settings = description.settings()
    assert isinstance(settings, TextSettings)  # the task says so
    return text_length(settings, description.scale)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch prints and warns while it exports from the user: it is about its own insides."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
