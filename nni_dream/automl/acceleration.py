"""How a model computes where it is: number format, order of memory, and data that are moved ahead of time.

Everything that differs between a CPU and a GPU.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Acceleration", "acceleration_of", "as_input", "is_out_of_memory", "move_ahead", "on_device", "to_device"]

RESIDENT_BYTES: Final = 4 << 30  # inputs up to this size are kept on the GPU; larger ones travel by batch


class Acceleration(NamedTuple):
    """How the forward pass is computed; weights and losses are always float32."""

    precision: torch.dtype | None = None  # of autocast; None: none
    memory_format: torch.memory_format = torch.channels_last  # of images; convolutions are faster so on either device

    def autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, dtype=self.precision, enabled=self.precision is not None)


def acceleration_of(device: torch.device) -> Acceleration:
    """Return what makes a device fast: bfloat16 is as wide as float32, so that no loss has to be scaled.

    `torch.cuda.is_bf16_supported` also says yes of cards that only emulate it; units for it are there from 8.0 on.
    """
    if device.type != "cuda":
        return Acceleration()
    has_units = torch.cuda.get_device_capability(device) >= (8, 0)
    return Acceleration(torch.bfloat16 if has_units else None)


def as_input(inputs: Tensor, memory_format: torch.memory_format = torch.preserve_format) -> Tensor:
    """Return bytes as floats, on the device where they are used; ids of terms stay whole numbers."""
    return inputs.to(torch.float32, memory_format=memory_format) if inputs.dtype is torch.uint8 else inputs


def on_device(model: nn.Module) -> nn.Module:
    """Move the model to the GPU where there is one, its weights in the order of memory of the images."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device, memory_format=Acceleration().memory_format)  # type: ignore[call-overload,no-any-return]


def move_ahead(tensors: tuple[Tensor, ...], device: torch.device) -> tuple[Tensor, ...]:
    """Return the tensors on the device, before any batch is made of them; where they are if they do not fit there."""
    if device.type == "cpu" or sum(tensor.nbytes for tensor in tensors) > RESIDENT_BYTES:
        return tensors
    try:
        return to_device(tensors, device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return tensors


def to_device(tensors: tuple[Tensor, ...], device: torch.device) -> tuple[Tensor, ...]:
    """Return the tensors on the device; to a GPU the copy runs beside the computation, from pinned memory."""
    if all(tensor.device == device for tensor in tensors):
        return tensors
    if device.type == "cuda":
        tensors = tuple(tensor.pin_memory() for tensor in tensors)
    return tuple(tensor.to(device, non_blocking=True) for tensor in tensors)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch says so, of a GPU's memory or of the machine's."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
