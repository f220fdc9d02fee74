"""What an epoch's sums on the devices say: numbers of each weight tensor, and pooled over the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from nni_dream.feedback import MAX_NAME_LENGTH, LayerFeedback, finite_or_none, thin_layers
from nni_dream.gradient_sampling import GradientSums
from nni_dream.measured_weights import MeasuredWeight
from nni_dream.tensor_statistics import Scalar, count_nonfinite, fetch_numbers
from nni_dream.weight_updates import UpdateNorms

__all__ = ["MAX_GRADIENT_RATIO", "LayerNumbers", "fetch_layers", "layer_feedback", "pooled_numbers"]

MAX_GRADIENT_RATIO: Final = 1e9  # what an output side without any gradient is reported as


@dataclass(frozen=True)
class LayerNumbers:
    """One weight tensor's numbers of one epoch; ``None``, or a count of 0, where nothing was measured."""

    name: str
    weight_norm: float
    gradient_norm: float | None = None  # L2, mean over the sampled steps
    n_nonfinite_gradients: int = 0  # entries, summed over the sampled steps; at least 1 if the norm overflowed
    n_zeros: int = 0  # entries of the gradient that are exactly zero (`count_zeros`), summed over the sampled steps
    n_entries: int = 0  # among which they were counted
    n_dead_units: int = 0  # output units whose gradient was zero in every sampled step
    n_units: int = 0
    start_norm: float | None = None  # of the weight when the epoch began
    update_norm: float | None = None  # of its change since then


@torch.no_grad()
def fetch_layers(
    weights: Sequence[MeasuredWeight],
    parameters: Mapping[str, Tensor],
    *,
    norms: Mapping[str, Scalar],
    gradients: Mapping[str, GradientSums],
    updates: Mapping[str, UpdateNorms],
) -> tuple[list[LayerNumbers], int]:
    """Fetch an epoch's numbers, in one transfer per device.

    Args:
        parameters: Those to search for non-finite entries; name -> tensor, and so below.
        norms: Of all parameters.
        gradients: Nothing for a weight that got no gradient.
        updates: Nothing for a weight whose change is not known.

    Returns:
        One entry per weight in their order, and the number of non-finite entries in the parameters; a parameter whose
        norm overflowed counts as one at least.
    """
    scalars: dict[tuple[str, str], Scalar] = {}  # (name, quantity) -> value
    for name, parameter in parameters.items():
        scalars[name, "weight_norm"] = norms[name]
        scalars[name, "n_nonfinite_weights"] = count_nonfinite(parameter, norms[name])
    for name, sums in gradients.items():
        scalars |= {(name, quantity): value for quantity, value in _gradient_scalars(sums).items()}
    for name, update in updates.items():
        scalars[name, "start_norm"] = update.start
        scalars[name, "update_norm"] = update.update
    numbers = fetch_numbers(scalars)
    layers = [_layer(weight.name, gradients.get(weight.name), numbers) for weight in weights]
    return layers, sum(
        _nonfinite_entries(numbers[name, "n_nonfinite_weights"], numbers[name, "weight_norm"]) for name in parameters
    )


def layer_feedback(layers: Sequence[LayerNumbers], *, with_names: bool) -> LayerFeedback:
    """Return the columns of a message, thinned to at most 160 layers."""
    columns = LayerFeedback(
        names=[layer.name[-MAX_NAME_LENGTH:] for layer in layers] if with_names else None,
        gradient_norms=[finite_or_none(layer.gradient_norm) for layer in layers],
        zero_gradient_shares=[_quotient(layer.n_zeros, layer.n_entries) for layer in layers],
        dead_unit_shares=[_quotient(layer.n_dead_units, layer.n_units) for layer in layers],
        weight_norms=[finite_or_none(layer.weight_norm) for layer in layers],
        update_ratios=[_quotient(layer.update_norm, layer.start_norm) for layer in layers],
    )
    return thin_layers(columns)


def pooled_numbers(layers: Sequence[LayerNumbers]) -> dict[str, Any]:
    """Return the fields of an ``EpochFeedback`` that speak of all layers together.

    A norm is that of all tensors as one vector; a share is that among the units, or the entries, of all tensors.
    """
    gradient_norms = [layer.gradient_norm for layer in layers if layer.gradient_norm is not None]
    start_norms = [layer.start_norm for layer in layers if layer.start_norm is not None]
    update_norms = [layer.update_norm for layer in layers if layer.update_norm is not None]
    n_units = sum(layer.n_units for layer in layers)
    n_entries = sum(layer.n_entries for layer in layers)
    return {
        "gradient_norm": finite_or_none(math.hypot(*gradient_norms)) if gradient_norms else None,
        "gradient_ratio": _gradient_ratio(gradient_norms),
        "dead_unit_share": _quotient(sum(layer.n_dead_units for layer in layers), n_units),
        "zero_gradient_share": _quotient(sum(layer.n_zeros for layer in layers), n_entries),
        "weight_norm": finite_or_none(math.hypot(*(layer.weight_norm for layer in layers))),
        "update_ratio": _quotient(math.hypot(*update_norms), math.hypot(*start_norms)),
        "n_nonfinite_gradients": sum(layer.n_nonfinite_gradients for layer in layers),
        "n_layers": len(layers),
    }


def _gradient_scalars(sums: GradientSums) -> dict[str, Scalar]:
    scalars = {"gradient_norm": sums.norm / sums.n_samples, "n_nonfinite_gradients": sums.n_nonfinite}
    if sums.n_zeros is not None and sums.unit_sizes is not None:
        scalars["n_zeros"] = sums.n_zeros
        scalars["n_dead_units"] = (sums.unit_sizes == 0).sum()
    return scalars


def _layer(name: str, sums: GradientSums | None, numbers: Mapping[tuple[str, str], float]) -> LayerNumbers:
    gradient_norm = numbers.get((name, "gradient_norm"))
    units = None if sums is None else sums.unit_sizes
    return LayerNumbers(
        name=name,
        weight_norm=numbers[name, "weight_norm"],
        gradient_norm=gradient_norm,
        n_nonfinite_gradients=_nonfinite_entries(numbers.get((name, "n_nonfinite_gradients"), 0), gradient_norm),
        n_zeros=round(numbers.get((name, "n_zeros"), 0)),
        n_entries=0 if sums is None or units is None else sums.n_entries,
        n_dead_units=int(numbers.get((name, "n_dead_units"), 0)),
        n_units=0 if units is None else units.numel(),
        start_norm=numbers.get((name, "start_norm")),
        update_norm=numbers.get((name, "update_norm")),
    )


def _nonfinite_entries(count: float, norm: float | None) -> int:
    """Return the count, and 1 at least if the norm is not finite: finite entries can overflow when they are squared."""
    return max(norm is not None and not math.isfinite(norm), int(count))


def _gradient_ratio(gradient_norms: Sequence[float]) -> float | None:
    """Return first / last; at most 1e9, and ``None`` if both are zero or one is not finite."""
    if not gradient_norms or not math.isfinite(gradient_norms[0] + gradient_norms[-1]):
        return None
    first, last = gradient_norms[0], gradient_norms[-1]
    if last == 0:
        return MAX_GRADIENT_RATIO if first > 0 else None
    return finite_or_none(min(first / last, MAX_GRADIENT_RATIO))


def _quotient(part: float | None, whole: float | None) -> float | None:
    if part is None or not whole:
        return None
    return finite_or_none(part / whole)
