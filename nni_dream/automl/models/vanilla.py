"""Plain convolutional network: blocks of convolutions, pooling and dropout.

The convolution block of AutoKeras: Jin, Song and Hu, "Auto-Keras: An Efficient Neural Architecture Search System",
KDD 2019, https://arxiv.org/abs/1806.10282 (`ConvBlock` in autokeras/blocks/basic.py), with the initialisers and
activations that DREAM adds as actions.  One difference: AutoKeras pads as soon as the image is smaller than twice the
kernel; here it pads only where the kernel does not fit at all, which keeps wide kernels on small images cheap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import Tensor, nn

from nni_dream.automl.image_parameters import Vanilla

__all__ = ["VanillaNet"]

ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {"relu": nn.ReLU, "selu": nn.SELU, "tanh": nn.Tanh}


class VanillaNet(nn.Module):
    """Features of an image: (N, C, H, W) to (N, filters, h, w)."""

    def __init__(self, parameters: Vanilla, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        n_channels, *size = image_shape
        length = min(size)  # of the shorter side
        layers: list[nn.Module] = []
        for _ in range(parameters.num_blocks):
            for _ in range(parameters.num_layers):
                pads = length < parameters.kernel_size
                layers += _convolution(parameters, n_channels, pads=pads)
                n_channels = parameters.filters
                length -= 0 if pads else parameters.kernel_size - 1
            if parameters.max_pooling:
                window = parameters.kernel_size - 1
                layers.append(nn.MaxPool2d(window, ceil_mode=True))  # a window that does not fit still counts
                length = -(-length // window)
            if parameters.conv_dropout > 0:
                layers.append(nn.Dropout(parameters.conv_dropout))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)  # (N, filters, h, w)
        return features


def _convolution(parameters: Vanilla, n_inputs: int, *, pads: bool) -> list[nn.Module]:
    padding = "same" if pads else "valid"
    kernel_size, filters = parameters.kernel_size, parameters.filters
    if parameters.separable:
        convolutions = [
            nn.Conv2d(n_inputs, n_inputs, kernel_size, padding=padding, groups=n_inputs, bias=False),
            nn.Conv2d(n_inputs, filters, 1),
        ]
    else:
        convolutions = [nn.Conv2d(n_inputs, filters, kernel_size, padding=padding)]
    for convolution in convolutions:
        _initialise(convolution, parameters.initializer)
    return [*convolutions, ACTIVATIONS[parameters.activation]()]


def _initialise(convolution: nn.Conv2d, initializer: str) -> None:
    weight = convolution.weight
    if initializer == "he_uniform":
        nn.init.kaiming_uniform_(weight, nonlinearity="relu")  # within sqrt(6 / fan_in)
    elif initializer == "lecun_uniform":
        nn.init.kaiming_uniform_(weight, nonlinearity="linear")  # within sqrt(3 / fan_in)
    else:
        nn.init.xavier_uniform_(weight)  # within sqrt(6 / (fan_in + fan_out))
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
