"""Single numbers of large tensors, computed where the tensors are and fetched together.

Nothing here waits for a GPU, but :func:`fetch_numbers`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Final, TypeVar

import torch
from torch import Tensor

__all__ = ["count_nonfinite", "count_zeros", "fetch_numbers", "tensor_norms", "unit_norms"]

MAX_COUNTED: Final = 2**15  # entries of a tensor that are looked at to count its zeros
MIN_COUNTED_UNITS: Final = 32

_HALF_PRECISION = (torch.float16, torch.bfloat16)

_Key = TypeVar("_Key", bound=Hashable)


def tensor_norms(tensors: Sequence[Tensor]) -> list[Tensor]:
    """L2 norm of each tensor, summed in float32 at least: half precision overflows at a sum of 65,504.

    Args:
        tensors: Dense tensors, real or complex, any shapes and devices.  Not modified.

    Returns:
        Real scalars, each on the device of its tensor, in the order of the tensors.
    """
    indices_by_dtype: defaultdict[torch.dtype, list[int]] = defaultdict(list)
    for i, tensor in enumerate(tensors):
        indices_by_dtype[tensor.dtype].append(i)
    norms: dict[int, Tensor] = {}
    for dtype, indices in indices_by_dtype.items():
        sum_dtype = torch.float32 if dtype in _HALF_PRECISION else None
        group = torch._foreach_norm([tensors[i] for i in indices], 2, dtype=sum_dtype)
        norms.update(zip(indices, group, strict=True))
    return [norms[i] for i in range(len(tensors))]


def unit_norms(tensor: Tensor, dims: Sequence[int]) -> Tensor:
    """L2 norms over some of a tensor's dimensions, summed as in :func:`tensor_norms`; of any memory layout, no copy."""
    sum_dtype = torch.float32 if tensor.dtype in _HALF_PRECISION else None
    norms: Tensor = torch.linalg.vector_norm(tensor, 2, dim=tuple(dims), dtype=sum_dtype)
    return norms


def count_zeros(tensor: Tensor) -> Tensor:
    """Return how many entries are exactly zero, as a scalar on the tensor's device.

    Counting takes longer than anything else that is asked of a gradient.  So of a tensor with more than 32,768 entries
    about so many are looked at, a grid over its first two dimensions, and the count is that of the grid scaled up.

    Args:
        tensor: Of two or more dimensions, the output units first.
    """
    seen = tensor[_grid(tensor)]
    n_zeros = seen.numel() - torch.count_nonzero(seen)
    return n_zeros if seen.numel() == tensor.numel() else n_zeros * (tensor.numel() / seen.numel())


def _grid(tensor: Tensor) -> tuple[slice, slice]:
    """Return the steps along the first two dimensions; as equal as leaves 32 units, where there are so many."""
    excess = tensor.numel() / MAX_COUNTED
    if excess <= 1:
        return slice(None), slice(None)
    unit_step = min(math.ceil(math.sqrt(excess)), max(tensor.shape[0] // MIN_COUNTED_UNITS, 1))
    return slice(None, None, unit_step), slice(None, None, math.ceil(excess / unit_step))


def count_nonfinite(tensor: Tensor, norm: Tensor) -> Tensor:
    """Return how many entries are NaN or infinite, as an integer scalar on the tensor's device.

    Args:
        norm: The tensor's norm.  On the CPU, where looking at it is free, a finite one spares the counting.
    """
    if norm.device.type == "cpu" and bool(norm.isfinite()):
        return torch.zeros((), dtype=torch.int64)
    return torch.count_nonzero(tensor - tensor)  # x - x is 0 for a finite x, else NaN; half the cost of isfinite


def fetch_numbers(scalars: Mapping[_Key, Tensor]) -> dict[_Key, float]:
    """Fetch scalars of any real dtypes to the host, with one transfer per device."""
    keys_by_device: defaultdict[torch.device, list[_Key]] = defaultdict(list)
    for key, scalar in scalars.items():
        keys_by_device[scalar.device].append(key)
    numbers: dict[_Key, float] = {}
    for keys in keys_by_device.values():
        flat = torch.stack([scalars[key] for key in keys])  # (len(keys),), in the widest of the dtypes
        numbers.update(zip(keys, flat.tolist(), strict=True))
    return numbers
