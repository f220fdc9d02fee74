"""A Keras model on the torch backend as the monitor expects one: a torch module, output units first.

Keras's kernels have their output units last, its layers do not run torch's hooks, and its optimizers are none of
torch.  The parameters here are views: they share the memory of Keras's variables, which never notice.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["AppliedGradients", "KerasView", "unit_dimensions"]


@dataclass(frozen=True)
class _View:
    """One variable, its units' dimensions flattened to one and moved to the front."""

    variable: Any  # keras.Variable; kept, so that its id stays its own
    units: tuple[int, ...] | None
    parameter: nn.Parameter

    def turn(self, gradient: Tensor) -> Tensor:
        return _units_first(gradient.contiguous(), self.units)


class KerasView(nn.Module):
    """The trainable and the frozen weights of a built Keras model, in the order of its layers.

    A weight has the name of its variable's path without that of the model.  Of an embedding, and of a kernel whose
    output units cannot be told, only norms are measured.

    Raises:
        ValueError: If the model is not built.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        if not model.built:
            raise ValueError(f"the Keras model {model.name!r} is not built: its weights have no shape yet")
        self._views: dict[int, _View] = {}  # id of the variable -> view
        for layer in model._flatten_layers():
            for variable in layer._trainable_variables:
                if id(variable) not in self._views:
                    self._add(layer, variable, prefix=f"{model.name}/")

    def find(self, variable: Any) -> _View | None:
        """Return the view of a variable."""
        return self._views.get(id(variable))

    def _add(self, layer: Any, variable: Any, prefix: str) -> None:
        units = unit_dimensions(type(layer).__name__, variable.name, variable.shape, getattr(layer, "equation", None))
        name = self._free_name(variable.path.removeprefix(prefix).replace(".", "_"))
        parameter = nn.Parameter(_units_first(variable.value.detach(), units))
        if units is None:
            holder = nn.Embedding(1, 1)
            holder.weight = parameter
            self.add_module(name, holder)
        else:
            self.register_parameter(name, parameter)
        self._views[id(variable)] = _View(variable, units, parameter)

    def _free_name(self, path: str) -> str:
        names = (path if i == 0 else f"{path}_{i}" for i in itertools.count())
        return next(name for name in names if not hasattr(self, name))


class AppliedGradients(Optimizer):
    """Shows the gradients that a Keras optimizer applies as a torch optimizer would, whose hooks then run.

    Its own step changes nothing.  Keras's optimizer is intercepted where it hands gradients to its update rule: after
    unscaling, accumulation and clipping; until :meth:`release`.

    Args:
        optimizer: Of Keras; one around another, such as `LossScaleOptimizer`, is looked into.

    Raises:
        TypeError: If the optimizer has no such place.
    """

    def __init__(self, view: KerasView, optimizer: Any) -> None:
        super().__init__(list(view.parameters()), {})
        self._view = view
        while hasattr(optimizer, "inner_optimizer"):
            optimizer = optimizer.inner_optimizer
        if not hasattr(optimizer, "_backend_update_step"):
            raise TypeError(
                f"optimizer is of type {type(optimizer).__name__}, expected a keras.optimizers.Optimizer of Keras 3"
            )
        self.keras_optimizer = optimizer
        self.learning_rate: Any = None  # of the last step
        optimizer._backend_update_step = self._showing(optimizer._backend_update_step)

    def release(self) -> None:
        """Leave Keras's optimizer as it was."""
        with contextlib.suppress(AttributeError):  # released before
            del self.keras_optimizer._backend_update_step

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Do nothing; torch calls the hooks before."""

    def _showing(self, update: Callable[..., Any]) -> Callable[..., Any]:
        show = torch.compiler.disable(self._show)  # type: ignore[no-untyped-call]

        def show_and_update(grads: Sequence[Tensor], trainable_variables: Sequence[Any], learning_rate: Any) -> Any:
            show(grads, trainable_variables, learning_rate)
            return update(grads, trainable_variables, learning_rate)

        return show_and_update

    @torch.no_grad()
    def _show(self, gradients: Sequence[Tensor], variables: Sequence[Any], learning_rate: Any) -> None:
        self.learning_rate = learning_rate
        shown = list(self._pair(gradients, variables))
        for view, gradient in shown:
            view.parameter.grad = view.turn(gradient)
        self.step()
        for view, _ in shown:
            view.parameter.grad = None

    def _pair(self, gradients: Sequence[Tensor], variables: Sequence[Any]) -> Iterator[tuple[_View, Tensor]]:
        for gradient, variable in zip(gradients, variables, strict=True):
            view = self._view.find(variable)
            if view is not None and gradient is not None and gradient.shape == variable.value.shape:
                yield view, gradient


def unit_dimensions(
    layer_class: str, variable: str, shape: Sequence[int], equation: str | None = None
) -> tuple[int, ...] | None:
    """Return the dimensions of a kernel that count its output units, adjacent and in order.

    Of a bias, all: those of attention have several dimensions, and are one vector of units all the same.

    Args:
        layer_class: Name of the class of Keras's layer.
        variable: Name of the variable in it.
        equation: Of an `EinsumDense`.

    Returns:
        ``None`` for an embedding, whose rows are no units, and if the units' dimensions are not adjacent.
    """
    n = len(shape)
    if variable == "bias":
        return tuple(range(n))
    if n < 2 or math.prod(shape) == 0:
        return ()
    if "Embedding" in layer_class:
        return None
    if equation is not None:
        return _einsum_units(equation)
    if variable == "depthwise_kernel" or (layer_class.startswith("DepthwiseConv") and variable == "kernel"):
        return (n - 2, n - 1)  # (..., in, multiplier)
    if layer_class.startswith("Conv") and layer_class.endswith("Transpose"):
        return (n - 2,)  # (..., out, in)
    return (n - 1,)


def _einsum_units(equation: str) -> tuple[int, ...] | None:
    operands, result = equation.replace(" ", "").split("->")
    inputs, kernel = operands.replace("...", "").split(",")
    units = tuple(i for i, letter in enumerate(kernel) if letter in result and letter not in inputs)
    is_adjacent = bool(units) and units == tuple(range(units[0], units[-1] + 1))
    return units if is_adjacent else None


def _units_first(tensor: Tensor, units: tuple[int, ...] | None) -> Tensor:
    """A view of shape (units, ...); of the tensor as it is where there are no units.

    Raises:
        RuntimeError: If the tensor is not contiguous, and a view cannot be had.
    """
    if not units:
        return tensor
    n_units = math.prod(tensor.shape[i] for i in units)
    flat = tensor.view(*tensor.shape[: units[0]], n_units, *tensor.shape[units[-1] + 1 :])
    return flat.movedim(units[0], 0)
