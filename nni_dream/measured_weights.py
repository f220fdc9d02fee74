"""Which tensors of a model are measured, what their output units are, and in what order the forward pass uses them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from nni_dream.tensor_statistics import unit_norms

__all__ = ["ForwardOrder", "MeasuredWeight", "find_weights", "is_compiled", "named_parameters", "unwrap"]

_logger = logging.getLogger(__name__)

# Recognised by name: importing them takes longer than the rest of this package.
_SHARDED_CLASSES: Final = frozenset({"DTensor", "FullyShardedDataParallel"})
_EMBEDDINGS: Final = (nn.Embedding, nn.EmbeddingBag)
_TRANSPOSED_LAYER: Final = "Conv1D"  # of Transformers, in GPT-2: a linear layer with weights of shape (in, out)
_TRANSPOSED_CONVOLUTIONS: Final = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(eq=False)
class MeasuredWeight:
    """A parameter tensor with two or more dimensions."""

    name: str  # as in `named_parameters()` of the plain model
    parameter: nn.Parameter
    is_embedding: bool = False  # a row that no token hit has no gradient, and is no dead unit
    transposed_groups: int | None = None  # groups of a transposed convolution or layer, whose units lie in dim 1

    def unit_sizes(self, gradient: Tensor) -> Tensor:
        """Return a size of each output unit's part of the gradient, shape (units,); 0 only if all of the part is zero.

        On the CPU it is the L2 norm, in float32 at least; where that underflows, and on other devices, it is the
        largest magnitude.
        """
        parts, unit_dims = self._unit_parts(gradient)
        inner_dims = [dim for dim in range(parts.ndim) if dim not in unit_dims]
        if gradient.device.type != "cpu":
            return parts.abs().amax(dim=inner_dims).flatten()
        norms = unit_norms(parts, inner_dims)
        if not norms.all():  # one is zero: rare in a living network, and then worth a copy of the gradient
            norms = torch.where(norms == 0, parts.abs().amax(dim=inner_dims), norms)
        return norms.flatten()

    def _unit_parts(self, gradient: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Return the gradient with its units apart, and the dimensions they are in."""
        if self.transposed_groups is None:
            return gradient, (0,)
        # (groups, in, out, ...), both per group
        return gradient.reshape(self.transposed_groups, -1, *gradient.shape[1:]), (0, 2)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the plain model inside `torch.compile`, `DataParallel` and `DistributedDataParallel`, in any nesting."""
    while True:
        if isinstance(model, OptimizedModule):
            model = model._orig_mod
        elif isinstance(model, (DataParallel, DistributedDataParallel)):
            model = model.module
        else:
            return model


def is_compiled(model: nn.Module) -> bool:
    """Whether the model or one of its modules runs through `torch.compile`."""
    return any(
        isinstance(module, OptimizedModule) or module._compiled_call_impl is not None for module in model.modules()
    )


def find_weights(model: nn.Module) -> list[MeasuredWeight]:
    """Return the weights to measure in registration order; a tied one once, under its first name.

    Args:
        model: A plain model, see :func:`unwrap`.

    Raises:
        NotImplementedError: If the parameters are sharded over processes.
        ValueError: If there is no such weight, or one has no shape or no numbers yet.
    """
    weights: dict[int, MeasuredWeight] = {}  # id of the parameter -> weight
    for module_name, module in model.named_modules():
        _refuse_sharded(module_name, module)
        for own_name, parameter in module.named_parameters(recurse=False):
            name = f"{module_name}.{own_name}" if module_name else own_name
            if not _is_measured(name, parameter):
                continue
            weight = weights.setdefault(id(parameter), MeasuredWeight(_plain_name(name), parameter))
            weight.is_embedding |= isinstance(module, _EMBEDDINGS)
            if isinstance(module, _TRANSPOSED_CONVOLUTIONS):
                weight.transposed_groups = module.groups
            elif type(module).__name__ == _TRANSPOSED_LAYER:
                weight.transposed_groups = 1
    if not weights:
        raise ValueError(
            f"{type(model).__name__} has no parameter tensor of two or more dimensions: nothing to measure"
        )
    return list(weights.values())


def named_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return name -> parameter for all of a plain model, of whatever number of dimensions; not the quantised."""
    return {_plain_name(name): parameter for name, parameter in model.named_parameters() if _has_numbers(parameter)}


class ForwardOrder:
    """Records which weight the forward pass uses first, second, ...; a weight used twice counts at its first use.

    Hooks the modules that own weights, until :meth:`stop`.  A compiled model is not hooked: that would cut its graph.
    A copy of a hooked model calls the same object: it is not looked at, and its hooks do nothing after :meth:`stop`.

    Args:
        model: The model that is called, in whatever wrapper.
        weights: Its weights, in registration order.
        layer_order: Names of weights in forward order, where they are known; then nothing is hooked.

    Raises:
        ValueError: If `layer_order` has a name that no weight has.
    """

    def __init__(self, model: nn.Module, weights: Sequence[MeasuredWeight], layer_order: Sequence[str] | None) -> None:
        self._weights = list(weights)
        self._measured = {id(weight.parameter) for weight in weights}
        self._positions: dict[int, int] = {}  # id of the parameter -> how many were used before
        self._handles: list[RemovableHandle] = []
        if layer_order is not None:
            self._take_names(layer_order)
        elif is_compiled(model):
            _logger.info("the model is compiled: its layers are taken in registration order; layer_order can tell it")
        else:
            self._hook_modules(model)

    def sorted_weights(self) -> list[MeasuredWeight]:
        """Return the weights as used so far; one that was not seen follows the one registered before it.

        A weight is not seen where its own module is not called: one in a ParameterList, or that of a layer whose parent
        calls `torch.nn.functional` with it.
        """
        places: dict[int, tuple[int, int]] = {}  # id of the parameter -> of the last one seen, how many follow that
        last = -1
        for index, weight in enumerate(self._weights):
            own = self._positions.get(id(weight.parameter))
            last = last if own is None else own
            places[id(weight.parameter)] = (last, -1 if own is not None else index)
        return sorted(self._weights, key=lambda weight: places[id(weight.parameter)])

    def stop(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def __deepcopy__(self, _: dict[int, object]) -> ForwardOrder:
        return self  # else a copy of the model would hold all weights twice

    def _take_names(self, names: Sequence[str]) -> None:
        parameters = {weight.name: weight.parameter for weight in self._weights}
        for name in names:
            if name not in parameters:
                raise ValueError(f"layer_order names {name!r}, but the model's weights are {', '.join(parameters)}")
            self._record(parameters[name])
        for weight in self._weights:  # those that are not named come last
            self._record(weight.parameter)

    def _hook_modules(self, model: nn.Module) -> None:
        for module in model.modules():
            if any(id(parameter) in self._measured for parameter in _used_by(module)):
                self._handles.append(module.register_forward_pre_hook(self._on_forward))

    def _on_forward(self, module: nn.Module, _inputs: tuple[Any, ...]) -> None:
        if torch.compiler.is_compiling():  # the model was compiled behind our back: leave no trace in its graph
            return
        if not self._handles:
            return
        for parameter in _used_by(module):
            self._record(parameter)

    def _record(self, parameter: Tensor) -> None:
        if id(parameter) in self._measured:
            self._positions.setdefault(id(parameter), len(self._positions))


def _used_by(module: nn.Module) -> Iterator[nn.Parameter]:
    # MultiheadAttention reads the weight of its output projection without calling that module.
    return module.parameters(recurse=isinstance(module, nn.MultiheadAttention))


def _is_measured(name: str, parameter: nn.Parameter) -> bool:
    if is_lazy(parameter):
        raise ValueError(f"parameter {name!r} has no shape yet: run one forward pass before the monitor is made")
    if parameter.is_meta:
        raise ValueError(f"parameter {name!r} is on the meta device: make the monitor when the model has its weights")
    _refuse_sharded(name, parameter)
    return _has_numbers(parameter) and parameter.ndim >= 2 and parameter.numel() > 0


def _has_numbers(parameter: Tensor) -> bool:  # quantised ones have codes
    return parameter.is_complex() or (parameter.is_floating_point() and parameter.itemsize > 1)


def _plain_name(name: str) -> str:
    return name.replace("_orig_mod.", "")  # what `torch.compile` of a submodule inserts


def _refuse_sharded(name: str, owner: nn.Module | Tensor) -> None:
    for cls in type(owner).__mro__:
        if cls.__name__ in _SHARDED_CLASSES:
            raise NotImplementedError(
                f"{name or 'the model'!r} is sharded over processes ({cls.__name__}), which cannot be measured; "
                "use DistributedDataParallel, or report the score to NNI without it"
            )
