"""Single numbers of large tensors, computed where the tensors are and fetched together.

Nothing here waits for a GPU, but :func:`fetch_numbers`.  Numbers on the CPU leave their tensors at once, as looking at
them costs nothing there, and adding up floats much less than adding up tensors.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

import torch
from torch import Tensor

__all__ = ["Scalar", "count_nonfinite", "count_zeros", "fetch_numbers", "take_free", "tensor_norms", "unit_norms"]

Scalar: TypeAlias = Tensor | float  # on its device, or a number already

MAX_COUNTED: Final = 2**15  # entries of a tensor that are looked at to count its zeros
MIN_COUNTED_UNITS: Final = 32

_HALF_PRECISION: Final = (torch.float16, torch.bfloat16)

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


def count_zeros(tensor: Tensor) -> Scalar:
    """Return how many entries are exactly zero.

    Counting takes longer than anything else that is asked of a gradient.  So of a tensor with more than 32,768 entries
    about so many are looked at, a grid over its first two dimensions, and the count is that of the grid scaled up.

    Args:
        tensor: Of two or more dimensions, the output units first.
    """
    seen = tensor[_grid(tensor)]
    (n_others,) = take_free([torch.count_nonzero(seen)])
    return (seen.numel() - n_others) * (tensor.numel() / seen.numel())


def _grid(tensor: Tensor) -> tuple[slice, slice]:
    """Return the steps along the first two dimensions; as equal as leaves 32 units, where there are so many."""
    excess = tensor.numel() / MAX_COUNTED
    if excess <= 1:
        return slice(None), slice(None)
    unit_step = min(math.ceil(math.sqrt(excess)), max(tensor.shape[0] // MIN_COUNTED_UNITS, 1))
    return slice(None, None, unit_step), slice(None, None, math.ceil(excess / unit_step))


def count_nonfinite(tensor: Tensor, norm: Scalar) -> Scalar:
    """Return how many entries are NaN or infinite.

    Args:
        norm: The tensor's norm.  Where it is known to be finite, it spares the counting.
    """
    if isinstance(norm, Tensor):
        return torch.count_nonzero(tensor - tensor)  # x - x is 0 for a finite x, else NaN; half the cost of isfinite
    return 0 if math.isfinite(norm) else int(torch.count_nonzero(tensor - tensor))


def take_free(scalars: Sequence[Tensor]) -> list[Scalar]:
    """Return those on the CPU as numbers, and the others as they are: to look at them would be to wait for them."""
    return [scalar.item() if scalar.is_cpu else scalar for scalar in scalars]


def fetch_numbers(scalars: Mapping[_Key, Scalar]) -> dict[_Key, float]:
    """Fetch scalars of any real dtypes to the host, with one transfer per device."""
    tensors = {key: scalar for key, scalar in scalars.items() if isinstance(scalar, Tensor)}
    keys_by_device: defaultdict[torch.device, list[_Key]] = defaultdict(list)
    for key, tensor in tensors.items():
        keys_by_device[tensor.device].append(key)
    numbers = {key: scalar for key, scalar in scalars.items() if not isinstance(scalar, Tensor)}
    for keys in keys_by_device.values():
        flat = torch.stack([tensors[key] for key in keys])  # (len(keys),), in the widest of the dtypes
        numbers.update(zip(keys, flat.tolist(), strict=True))
    return numbers
