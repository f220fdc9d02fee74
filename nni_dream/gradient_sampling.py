"""Reading the gradients of one optimizer, at a few of its steps."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from nni_dream.measured_weights import MeasuredWeight
from nni_dream.tensor_statistics import Scalar, count_nonfinite, count_zeros, take_free, tensor_norms

__all__ = ["GradientReader", "GradientSums", "is_sampled", "merge_sums", "present_learning_rate"]

_Arguments: TypeAlias = tuple[Any, ...]
_Named: TypeAlias = dict[str, Any]
_Sum = TypeVar("_Sum", bound=Scalar)


@dataclass(frozen=True)
class GradientSums:
    """Sums over the sampled steps of one weight's gradient."""

    norm: Scalar  # L2
    n_nonfinite: Scalar
    n_zeros: Scalar | None  # None where a zero entry does not speak of a dead unit, and so below
    unit_sizes: Tensor | None  # (units,): of each output unit's part, the largest of all samples; 0: always zero
    n_entries: int  # among which the zeros are counted
    n_samples: int = 1

    def add(self, other: GradientSums) -> GradientSums:
        """Return the sums over the samples of both."""
        return GradientSums(
            norm=self.norm + other.norm,
            n_nonfinite=self.n_nonfinite + other.n_nonfinite,
            n_zeros=_both(operator.add, self.n_zeros, other.n_zeros),
            unit_sizes=_both(torch.maximum, self.unit_sizes, other.unit_sizes),
            n_entries=self.n_entries + other.n_entries,
            n_samples=self.n_samples + other.n_samples,
        )


def merge_sums(sums_by_optimizer: Iterable[Mapping[str, GradientSums]]) -> dict[str, GradientSums]:
    """Add up what several optimizers applied to the same weight; name of the weight -> sums."""
    merged: dict[str, GradientSums] = {}
    for sums_by_name in sums_by_optimizer:
        for name, sums in sums_by_name.items():
            merged[name] = merged[name].add(sums) if name in merged else sums
    return merged


def present_learning_rate(optimizer: Optimizer) -> Scalar | None:
    """Return the rate of the first parameter group as it is now: schedulers set the next one in the same tensor."""
    rate: Scalar | None = optimizer.param_groups[0].get("lr")
    return rate.detach().clone() if isinstance(rate, Tensor) else rate


def is_sampled(step: int, n_expected: int | None, n_samples: int) -> bool:
    """Whether a step, counted from 0, is among the sample of its epoch.

    Args:
        n_expected: Steps the epoch will probably have: `n_samples` of them are evenly spaced, the last one included.
            ``None``: unknown; then steps 0, 1, 3, 7, 15, ... are the sample.  If the epoch turns out so short that it
            ends before the first sampled step, nothing is sampled.
    """
    if n_expected is None:
        return step & (step + 1) == 0
    return step in _spread_steps(n_expected, n_samples)


@functools.lru_cache(maxsize=16)  # asked at every step of a training
def _spread_steps(n_expected: int, n_samples: int) -> frozenset[int]:
    return frozenset((i + 1) * n_expected // n_samples - 1 for i in range(n_samples))


class GradientReader:
    """Reads the gradients of the measured weights that one optimizer holds, just before it applies them.

    So a gradient is read unscaled, accumulated and clipped, and a step that a `GradScaler` skips does not count.
    A step with a closure, as Lightning's and that of `LBFGS`, computes its gradients inside: they are read when the
    closure has returned for the first time.

    Args:
        weights: Id of the parameter -> weight.  The optimizer may hold other parameters, and get more later.
        samples_per_epoch: Steps read in an epoch, from the second epoch on.
        on_sample: Called before each sample is read; the first step of all is a sample.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        weights: Mapping[int, MeasuredWeight],
        *,
        samples_per_epoch: int,
        on_sample: Callable[[], None],
    ) -> None:
        self.optimizer = optimizer
        self._weights = weights
        self._samples_per_epoch = samples_per_epoch
        self._on_sample = on_sample
        self.n_steps = 0  # of this epoch
        self.learning_rate: Scalar | None = None  # of the first parameter group, at the last step
        self._n_expected: int | None = None
        self._sums: dict[str, GradientSums] = {}  # name of the weight -> sums of this epoch
        self._outside_graphs = torch.compiler.disable(self._before_step)  # type: ignore[no-untyped-call]
        self._handle = optimizer.register_step_pre_hook(self._hook)

    def end_epoch(self) -> dict[str, GradientSums]:
        """Return the sums of the epoch, by name of the weight, and begin the next epoch."""
        sums, self._sums = self._sums, {}
        self._n_expected, self.n_steps = self.n_steps or None, 0
        return sums

    def close(self) -> None:
        """Stop reading."""
        self._handle.remove()

    def _hook(self, optimizer: Optimizer, arguments: _Arguments, named: _Named) -> tuple[_Arguments, _Named] | None:
        # Keeping out of compiled graphs costs more than all else at a step that is no sample: only where there is one.
        before_step = self._outside_graphs if torch.compiler.is_compiling() else self._before_step
        changed: tuple[_Arguments, _Named] | None = before_step(optimizer, arguments, named)
        return changed

    def _before_step(
        self, optimizer: Optimizer, arguments: _Arguments, named: _Named
    ) -> tuple[_Arguments, _Named] | None:
        self.learning_rate = present_learning_rate(optimizer)
        if not is_sampled(self.n_steps, self._n_expected, self._samples_per_epoch):
            self.n_steps += 1
            return None
        if callable(named.get("closure")):
            return arguments, {**named, "closure": self._then_sample(named["closure"])}
        if len(arguments) > 1 and callable(arguments[1]):  # the optimizer itself comes first
            return (arguments[0], self._then_sample(arguments[1]), *arguments[2:]), named
        self._sample()
        return None

    def _then_sample(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """Return a closure that takes the sample after its first call; `LBFGS` calls it several times a step."""
        is_taken = False

        @functools.wraps(closure)
        def closure_and_sample() -> Any:
            nonlocal is_taken
            result = closure()
            if not is_taken:
                is_taken = True
                self._sample()
            return result

        return closure_and_sample

    @torch.no_grad()
    def _sample(self) -> None:
        self._on_sample()
        if self._will_be_skipped() or _is_captured():
            return
        self._read()
        self.n_steps += 1

    def _will_be_skipped(self) -> bool:
        # A fused optimizer under a GradScaler decides this inside its kernel.  Looking costs a wait for the device.
        found_inf = getattr(self.optimizer, "found_inf", None)
        return found_inf is not None and bool(found_inf)

    def _read(self) -> None:
        weights, gradients = [], []
        for weight in self._own_weights():
            gradient = weight.parameter.grad
            if weight.parameter.requires_grad and gradient is not None:
                weights.append(weight)
                gradients.append(gradient.coalesce() if gradient.is_sparse else gradient)
        values = [gradient.values() if gradient.is_sparse else gradient for gradient in gradients]
        sizes: list[Tensor | None] = []
        zeros: list[Scalar | None] = []
        for weight, gradient in zip(weights, gradients, strict=True):  # both while the gradient is in the cache
            sizes.append(_unit_sizes(weight, gradient))
            zeros.append(None if sizes[-1] is None else count_zeros(gradient))
        norms = take_free(self._unscaled(_norms(values, sizes)))
        samples = {
            weight.name: GradientSums(
                norm=norms[i],
                n_nonfinite=count_nonfinite(values[i], norms[i]),
                n_zeros=zeros[i],
                unit_sizes=sizes[i],
                n_entries=0 if sizes[i] is None else gradients[i].numel(),
            )
            for i, weight in enumerate(weights)
        }
        self._sums = merge_sums([self._sums, samples])

    def _unscaled(self, norms: list[Tensor]) -> list[Tensor]:
        # Set only while a GradScaler steps a fused optimizer, which unscales inside its kernel.
        scale = getattr(self.optimizer, "grad_scale", None)
        return norms if scale is None else [norm / scale.to(norm.device) for norm in norms]

    def _own_weights(self) -> Iterator[MeasuredWeight]:
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if id(parameter) in self._weights:
                    yield self._weights[id(parameter)]


def _is_captured() -> bool:  # a CUDA graph would repeat the reading at every replay
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _unit_sizes(weight: MeasuredWeight, gradient: Tensor) -> Tensor | None:
    return None if weight.is_embedding or gradient.is_sparse else weight.unit_sizes(gradient)


def _norms(gradients: Sequence[Tensor], sizes: Sequence[Tensor | None]) -> list[Tensor]:
    """Return the gradients' norms; on the CPU those of the units' norms, which spares a second reading."""
    on_cpu = {i: size for i, size in enumerate(sizes) if size is not None and size.device.type == "cpu"}
    others = [i for i in range(len(gradients)) if i not in on_cpu]
    norms = dict(zip(on_cpu, tensor_norms(list(on_cpu.values())), strict=True))
    norms.update(zip(others, tensor_norms([gradients[i] for i in others]), strict=True))
    return [norms[i] for i in range(len(gradients))]


def _both(add: Callable[[_Sum, _Sum], _Sum], one: _Sum | None, other: _Sum | None) -> _Sum | None:
    return None if one is None or other is None else add(one, other)
