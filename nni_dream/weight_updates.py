"""How far an epoch moved the weights, measured against one kept copy of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nni_dream.tensor_statistics import Scalar, take_free, tensor_norms

__all__ = ["UpdateMeter", "UpdateNorms"]


@dataclass(frozen=True)
class UpdateNorms:
    """L2 norms of one tensor."""

    start: Scalar  # of the tensor when the epoch began
    update: Scalar  # of its change over the epoch


class UpdateMeter:
    """Keeps a copy of each tensor as the epoch found it, updated in place.

    Args:
        tensors: Name -> tensor.  Read, never modified.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._names = list(tensors)
        self._tensors = list(tensors.values())
        self._copies: list[Tensor] = []
        self._starts: list[Scalar] = []  # norms of the copies

    @torch.no_grad()
    def start(self) -> None:
        """Take the copies, if there are none yet."""
        if not self._copies:
            self._copies = [tensor.clone() for tensor in self._tensors]
            self._starts = take_free(tensor_norms(self._copies))

    @torch.no_grad()
    def end_epoch(self, norms: Mapping[str, Scalar]) -> dict[str, UpdateNorms]:
        """Measure each tensor against its copy, and renew the copies for the next epoch.

        Args:
            norms: Name -> L2 norm of the tensor as it is now.

        Returns:
            Name -> norms; empty if :meth:`start` did not come before, or if since then the tensors went to another
            device or changed their dtype or shape.
        """
        if not self._copies:
            return {}
        starts, self._starts = self._starts, [norms[name] for name in self._names]
        if not all(map(_are_alike, self._copies, self._tensors)):
            self._copies = [tensor.clone() for tensor in self._tensors]
            return {}
        updates = take_free(list(map(_renew, self._copies, self._tensors)))
        return {
            name: UpdateNorms(start, update) for name, start, update in zip(self._names, starts, updates, strict=True)
        }


def _renew(copy: Tensor, tensor: Tensor) -> Tensor:
    """Copy the tensor, and return the norm of what changed; one tensor after the other, while it is in the cache."""
    (update,) = tensor_norms([copy.sub_(tensor)])
    copy.copy_(tensor)
    return update


def _are_alike(copy: Tensor, tensor: Tensor) -> bool:
    return (copy.device, copy.dtype, copy.shape) == (tensor.device, tensor.dtype, tensor.shape)
