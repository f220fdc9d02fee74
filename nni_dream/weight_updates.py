"""How far an epoch moved the weights, measured against one kept copy of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        self._tensors = dict(tensors)
        self._copies: list[Tensor] = []
        self._starts: dict[str, Scalar] = {}  # norms of the copies

    @torch.no_grad()
    def start(self) -> None:
        """Take the copies, if there are none yet."""
        if not self._copies:
            self._starts = self._take_copies()

    @torch.no_grad()
    def end_epoch(self) -> tuple[dict[str, Scalar], dict[str, UpdateNorms]]:
        """Measure each tensor against its copy, and renew the copies for the next epoch.

        Returns:
            Name -> L2 norm of the tensor as it is now; and name -> norms of its change, empty if :meth:`start` did not
            come before, or if since then the tensors went to another device or changed their dtype or shape.
        """
        tensors = list(self._tensors.values())
        if not self._copies:
            return self._named(tensor_norms(tensors)), {}
        if not all(map(_are_alike, self._copies, tensors)):
            self._starts = self._take_copies()
            return self._starts, {}
        norms, updates = map(self._named, zip(*map(_renew, self._copies, tensors), strict=True))
        starts, self._starts = self._starts, norms
        return norms, {name: UpdateNorms(starts[name], updates[name]) for name in norms}

    def stop(self) -> None:
        """Let go of the copies, until the next :meth:`start`."""
        self._copies.clear()

    def _take_copies(self) -> dict[str, Scalar]:
        self._copies = [tensor.clone() for tensor in self._tensors.values()]
        return self._named(tensor_norms(self._copies))

    def _named(self, norms: Sequence[Tensor]) -> dict[str, Scalar]:
        return dict(zip(self._tensors, take_free(norms), strict=True))


def _renew(copy: Tensor, tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Copy the tensor, and return its norm and that of what changed.

    One tensor after the other, and its own norm first: from then on it is in the cache.
    """
    norm, update = tensor_norms([tensor])[0], tensor_norms([copy.sub_(tensor)])[0]
    copy.copy_(tensor)
    return norm, update


def _are_alike(copy: Tensor, tensor: Tensor) -> bool:
    return (copy.device, copy.dtype, copy.shape) == (tensor.device, tensor.dtype, tensor.shape)
