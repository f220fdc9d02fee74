"""Plain convolutional network, over images or sequences: blocks of convolutions, pooling and dropout.

The convolution block of AutoKeras: Jin, Song and Hu, "Auto-Keras: An Efficient Neural Architecture Search System",
KDD 2019, https://arxiv.org/abs/1806.10282 (`ConvBlock` in autokeras/blocks/basic.py), with the initialisers and
activations that DREAM adds as actions.  One difference: AutoKeras pads as soon as the image is smaller than twice the
kernel; here it pads only where the kernel does not fit at all, which keeps wide kernels on small images cheap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from torch import Tensor, nn

__all__ = ["ACTIVATIONS", "Convolutions", "VanillaNet", "initialise"]

ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {"relu": nn.ReLU, "selu": nn.SELU, "tanh": nn.Tanh}


class Convolutions(NamedTuple):
    """What a plain network is made of."""

    filters: tuple[tuple[int, ...], ...]  # of each layer of each block
    kernel_size: int
    separable: bool
    max_pooling: bool
    dropout: float
    initializer: str
    activation: str


class _Kind(NamedTuple):
    """The layers for inputs of so many dimensions."""

    convolution: type[nn.Conv1d] | type[nn.Conv2d]
    pooling: type[nn.MaxPool1d] | type[nn.MaxPool2d]


KINDS: Final = {1: _Kind(nn.Conv1d, nn.MaxPool1d), 2: _Kind(nn.Conv2d, nn.MaxPool2d)}


class VanillaNet(nn.Module):
    """Features: (N, C, H, W) to (N, last filters, h, w), or (N, C, L) to (N, last filters, l).

    Args:
        input_shape: Without the batch; (C, H, W) or (C, L).
    """

    def __init__(self, plan: Convolutions, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        n_channels, *size = input_shape
        kind = KINDS[len(size)]
        length = min(size)  # of the shorter side
        layers: list[nn.Module] = []
        for block in plan.filters:
            for n_filters in block:
                pads = length < plan.kernel_size
                layers += _convolution(plan, kind, n_channels, n_filters, pads=pads)
                n_channels = n_filters
                length -= 0 if pads else plan.kernel_size - 1
            if plan.max_pooling:
                window = max(2, plan.kernel_size - 1)
                layers.append(kind.pooling(window, ceil_mode=True))  # a window that does not fit still counts
                length = -(-length // window)
            if plan.dropout > 0:
                layers.append(nn.Dropout(plan.dropout))
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.layers(inputs)
        return features


def _convolution(plan: Convolutions, kind: _Kind, n_inputs: int, n_filters: int, *, pads: bool) -> list[nn.Module]:
    padding = "same" if pads else "valid"
    convolutions: list[nn.Module]
    if plan.separable:
        convolutions = [
            kind.convolution(n_inputs, n_inputs, plan.kernel_size, padding=padding, groups=n_inputs, bias=False),
            kind.convolution(n_inputs, n_filters, 1),
        ]
    else:
        convolutions = [kind.convolution(n_inputs, n_filters, plan.kernel_size, padding=padding)]
    for convolution in convolutions:
        initialise(convolution, plan.initializer)
    return [*convolutions, ACTIVATIONS[plan.activation]()]


def initialise(layer: nn.Module, initializer: str) -> None:
    """Draw the weight of a convolution or a dense layer anew, and set its bias to zero."""
    weight, bias = layer.get_parameter("weight"), getattr(layer, "bias", None)
    if initializer == "he_uniform":
        nn.init.kaiming_uniform_(weight, nonlinearity="relu")  # within sqrt(6 / fan_in)
    elif initializer == "lecun_uniform":
        nn.init.kaiming_uniform_(weight, nonlinearity="linear")  # within sqrt(3 / fan_in)
    else:
        nn.init.xavier_uniform_(weight)  # within sqrt(6 / (fan_in + fan_out))
    if bias is not None:
        nn.init.zeros_(bias)
