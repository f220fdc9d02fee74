"""What the monitor costs in training: processor time, wall time and memory, beside two other ways to look inside.

    python benchmarks/overhead.py [--models small_cnn resnet18 resnet50] [--scale 1.0]

Needs tensorboard (`pip install -e .[automl,benchmarks]`); about twenty minutes.  Two methods:

*Calls*: one training with the monitor; each of its calls is timed where it happens, in the training.  Reading every
gradient once, with a sum over each tensor, is timed in the steps between: the floor.

*Pairs*: equal trainings take turns, a step each, one of them without anything.  This includes what a call changes in
the steps around it, and scatters with whatever else the machine does.

Each network is measured in a process of its own, whose idle threads sleep (OMP_WAIT_POLICY=PASSIVE): spinning ones
would count as processor time.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from markdown_tables import table_head, table_row
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.tensorboard import SummaryWriter

from nni_dream.gradient_sampling import is_sampled
from nni_dream.monitor import FeedbackMonitor
from nni_dream.reporting import InMemoryReporter
from nni_dream.torchvision_compatibility import ensure_torchvision

RESULTS = Path(__file__).parent / "results" / "overhead.md"
BATCH_SIZE, N_STEPS, IMAGE_SIZE, N_CLASSES = 32, 40, 32, 10
N_THREADS = 2
N_DEFAULT_SAMPLES = 4  # the monitor's own default
N_RESAMPLES = 2_000
MILLI, MEBI = 1e3, 1024**2


class Seconds(NamedTuple):
    """Seconds on the wall's clock, and seconds of all threads of this process on their processors."""

    wall: float
    processor: float

    def minus(self, *others: Seconds) -> Seconds:
        wall, processor = self
        for other in others:
            wall, processor = wall - other.wall, processor - other.processor
        return Seconds(wall, processor)


class Training:
    """One model on random images; the same seed makes the same training."""

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        torch.manual_seed(0)
        self.model = build()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        # Noise, so that the gradients do not fade into denormal numbers, which are slow.
        self.images = torch.randn(N_STEPS, BATCH_SIZE, 3, IMAGE_SIZE, IMAGE_SIZE)
        self.labels = torch.randint(N_CLASSES, (N_STEPS, BATCH_SIZE))

    def backward(self, step: int) -> None:
        loss = nn.functional.cross_entropy(self.model(self.images[step]), self.labels[step])
        self.optimizer.zero_grad()
        loss.backward()

    def step(self, step: int) -> None:
        self.backward(step)
        self.optimizer.step()


# ---- the monitor's calls


def measure_calls(build: Callable[[], nn.Module], n_epochs: int) -> dict[str, list[Seconds]]:
    """Train with the monitor, which samples every second step; the steps between measure the floor.

    Returns:
        Kind of call -> its seconds, one entry a call: ``step`` (a training step without what follows), ``sample`` and
        ``passed`` (the monitor at a step that is sampled, and at one that is not), ``first_sample``, ``end_epoch``,
        ``floor``, ``histograms``.
    """
    training = Training(build)
    marks: list[Seconds] = []
    training.optimizer.register_step_pre_hook(lambda *_: marks.append(now()))
    monitor = FeedbackMonitor(
        training.model, training.optimizer, samples_per_epoch=N_STEPS // 2, reporter=InMemoryReporter(), parameters={}
    )
    training.optimizer.register_step_pre_hook(lambda *_: marks.append(now()))
    calls: defaultdict[str, list[Seconds]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
        for epoch in range(n_epochs + 1):  # the first one warms up, and samples other steps
            for step in range(N_STEPS):
                sampled = is_sampled(step, N_STEPS, N_STEPS // 2)
                start = now()
                training.backward(step)
                floor = Seconds(0.0, 0.0) if sampled else elapsed(partial(read_once, training.model))
                training.optimizer.step()
                whole = now().minus(start)
                begin, end = marks[-2:]
                own = end.minus(begin)
                if epoch == 0:
                    calls["first_sample"] += [own] if step == 0 else []
                    continue
                calls["step"].append(whole.minus(own, floor))
                calls["sample" if sampled else "passed"].append(own)
                calls["floor"] += [] if sampled else [floor]
            end_epoch = elapsed(partial(monitor.end_epoch, val_score=0.5))
            histograms = elapsed(partial(write_histograms, writer, training.model, epoch))
            if epoch > 0:
                calls["end_epoch"].append(end_epoch)
                calls["histograms"].append(histograms)
    return calls


def read_once(model: nn.Module) -> list[Tensor]:
    """Return a sum of every gradient: the cheapest that reads all of them."""
    return [parameter.grad.sum() for parameter in model.parameters() if parameter.grad is not None]


def write_histograms(writer: SummaryWriter, model: nn.Module, epoch: int) -> None:
    """Write a histogram of each parameter and of its gradient, and wait until they are in the file."""
    for name, parameter in model.named_parameters():
        writer.add_histogram(f"weights/{name}", parameter, epoch)
        if parameter.grad is not None:
            writer.add_histogram(f"gradients/{name}", parameter.grad, epoch)
    writer.flush()


# ---- pairs


class Arm:
    """A training, and what looks at it; ``plain`` has nothing that does."""

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        self.training = Training(build)

    def end_epoch(self, epoch: int) -> None:
        """Do what there is to do after the last step."""

    def close(self) -> None:
        """Release what is held."""


class Monitored(Arm):
    """The monitor, with that many samples an epoch."""

    def __init__(self, build: Callable[[], nn.Module], n_samples: int) -> None:
        super().__init__(build)
        model, optimizer = self.training.model, self.training.optimizer
        self._monitor = FeedbackMonitor(
            model, optimizer, samples_per_epoch=n_samples, reporter=InMemoryReporter(), parameters={}
        )

    def end_epoch(self, epoch: int) -> None:
        self._monitor.end_epoch(val_score=0.5)


class Histograms(Arm):
    """TensorBoard's histograms of weights and gradients, once an epoch."""

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        super().__init__(build)
        self._folder = tempfile.TemporaryDirectory()
        self._writer = SummaryWriter(self._folder.name)

    def end_epoch(self, epoch: int) -> None:
        write_histograms(self._writer, self.training.model, epoch)

    def close(self) -> None:
        self._writer.close()
        self._folder.cleanup()


class BackwardHooks(Arm):
    """A full backward hook on each convolution and linear layer, that takes the norm of its output's gradient.

    On all modules it would end residual networks with an error: they change the output of others in place.
    """

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        super().__init__(build)
        self._norms: dict[str, Tensor] = {}
        for name, module in self.training.model.named_modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.register_full_backward_hook(partial(self._keep_norm, name))

    def _keep_norm(self, name: str, _module: nn.Module, _inputs: object, outputs: tuple[Tensor, ...]) -> None:
        self._norms[name] = outputs[0].norm()


PLAIN: Final = "plain"
ARMS: dict[str, Callable[[Callable[[], nn.Module]], Arm]] = {
    PLAIN: Arm,
    "once": partial(Monitored, n_samples=1),
    "default": partial(Monitored, n_samples=N_DEFAULT_SAMPLES),
    "every step": partial(Monitored, n_samples=N_STEPS),
    "histograms": Histograms,
    "backward hooks": BackwardHooks,
}


def measure_pairs(build: Callable[[], nn.Module], n_epochs: int) -> dict[str, list[Seconds]]:
    """Train all arms side by side, a step each in an order that moves on; name of the arm -> seconds of each step.

    What comes after the last step of an epoch counts with that step.
    """
    arms = {name: make(build) for name, make in ARMS.items()}
    names = list(arms)
    steps: defaultdict[str, list[Seconds]] = defaultdict(list)
    for epoch in range(n_epochs + 1):  # in the first one the monitors do not know how many steps there will be
        for step in range(N_STEPS):
            first = step % len(names)
            for name in names[first:] + names[:first]:
                start = now()
                arms[name].training.step(step)
                if step == N_STEPS - 1:
                    arms[name].end_epoch(epoch)
                if epoch > 0:
                    steps[name].append(now().minus(start))
    for arm in arms.values():
        arm.close()
    return steps


# ---- memory


def measure_memory(build: Callable[[], nn.Module]) -> dict[str, int]:
    """Bytes of tensors, as the allocator counts them.

    Returns:
        ``parameters``; those of which the monitor measures the ``weights``; ``kept`` by the monitor after two
        epochs; and the ``peak`` within one of its calls, above what it kept before.
    """
    training = Training(build)
    profiles: list[profile] = []

    def begin(*_: object) -> None:
        profiles.append(profile(activities=[ProfilerActivity.CPU], profile_memory=True))
        profiles[-1].start()

    training.optimizer.register_step_pre_hook(begin)
    monitor = FeedbackMonitor(training.model, training.optimizer, reporter=InMemoryReporter(), parameters={})
    training.optimizer.register_step_pre_hook(lambda *_: profiles[-1].stop())
    kept, peaks = 0, []
    for _ in range(2):
        for step in range(2):
            training.step(step)
        begin()
        monitor.end_epoch(val_score=0.5)
        profiles[-1].stop()
    for index, each in enumerate(profiles):
        sizes = np.cumsum([0, *allocations(each)])
        kept += int(sizes[-1])
        if index > 0:  # the first call of all makes the copies that stay
            peaks.append(int(sizes.max()))
    parameters = list(training.model.parameters())
    return {
        "parameters": sum(parameter.nbytes for parameter in parameters),
        "weights": sum(parameter.nbytes for parameter in parameters if parameter.ndim >= 2),
        "kept": kept,
        "peak": max(peaks),
    }


def allocations(profiled: profile) -> list[int]:
    """Return the bytes of each allocation, those of releases negative, in the order of time."""
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    return [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]


# ---- one network


def small_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(64, N_CLASSES),
    )  # fmt: skip


def torchvision_model(name: str) -> nn.Module:
    ensure_torchvision()
    from torchvision import models

    model: nn.Module = models.get_model(name, num_classes=N_CLASSES)
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "small_cnn": small_cnn,
    "resnet18": partial(torchvision_model, "resnet18"),
    "resnet50": partial(torchvision_model, "resnet50"),
}
N_EPOCHS = {"small_cnn": (8, 8), "resnet18": (6, 4), "resnet50": (4, 2)}  # with the methods Calls and Pairs


def measure(name: str, scale: float) -> dict[str, Any]:
    """Return everything that is measured of one network, as JSON."""
    torch.set_num_threads(N_THREADS)
    logging.disable(logging.WARNING)
    n_call_epochs, n_pair_epochs = (max(round(n * scale), 1) for n in N_EPOCHS[name])
    return {
        "memory": measure_memory(MODELS[name]),
        "calls": measure_calls(MODELS[name], n_call_epochs),
        "pairs": measure_pairs(MODELS[name], n_pair_epochs),
    }


def now() -> Seconds:
    return Seconds(time.perf_counter(), time.process_time())


def elapsed(action: Callable[[], object]) -> Seconds:
    start = now()
    action()
    return now().minus(start)


# ---- the report


class Measured:
    """What was measured of one network, read back."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self.memory: dict[str, int] = found["memory"]
        self.calls = {name: [Seconds(*each) for each in calls] for name, calls in found["calls"].items()}
        self.pairs = {name: [Seconds(*each) for each in steps] for name, steps in found["pairs"].items()}

    def median(self, kind: str) -> Seconds:
        """Median of each clock."""
        return Seconds(*(statistics.median(clock) for clock in zip(*self.calls[kind], strict=True)))

    def epoch(self, n_samples: int, *, with_end: bool = True) -> Seconds:
        """What the monitor's calls of one epoch come to."""
        counts = {"sample": n_samples, "passed": N_STEPS - n_samples, "end_epoch": int(with_end)}
        return self.total(counts)

    def total(self, counts: Mapping[str, int]) -> Seconds:
        medians = [(self.median(kind), n) for kind, n in counts.items()]
        return Seconds(sum(each.wall * n for each, n in medians), sum(each.processor * n for each, n in medians))

    def share(self, cost: Seconds) -> Seconds:
        """Of the epoch's training steps."""
        training = self.median("step")
        return Seconds(cost.wall / training.wall / N_STEPS, cost.processor / training.processor / N_STEPS)

    def times_floor(self) -> Seconds:
        sample, floor = self.median("sample"), self.median("floor")
        return Seconds(sample.wall / floor.wall, sample.processor / floor.processor)

    def paired(self, arm: str) -> str:
        """The arm's processor seconds more than the plain ones', with a bootstrap interval over the steps."""
        plain, other = (np.array([step.processor for step in self.pairs[name]]) for name in (PLAIN, arm))
        rows = np.random.default_rng(0).integers(len(plain), size=(N_RESAMPLES, len(plain)))
        shares = other[rows].sum(1) / plain[rows].sum(1) - 1
        low, high = np.quantile(shares, (0.025, 0.975))
        return f"{other.sum() / plain.sum() - 1:+.2%} ({low:+.2%} to {high:+.2%})"


PREFACE = """# What the monitor costs

    {command}

Images of {size}x{size}, batches of {batch}, {steps} steps an epoch, SGD with momentum, {threads} threads on {cores}
cores that also had other work ({processor}). Python {python}, PyTorch {torch}. Reports went to nobody: NNI's own
channel is not in these figures.

**Calls** are the primary figures: each call of the monitor timed inside a real training, medians of all calls, added up
to an epoch and put over the median training step times {steps}. Processor time is that of all threads of the process,
and other work on the machine adds little to it: it decides whether a target is met. Wall time includes being kept
waiting, a long step more often than a short call, so its shares come out too small on a busy machine; on idle cores
they can be up to {threads} times those of processor time, where a call uses one thread and the training all.

**Pairs** are a cross-check with another method: whole trainings with and without, a step each in turn, all processor
time of the one over that of the other, with a 95 % bootstrap interval over the steps. What a call leaves in the caches
counts there too, and so does all that scatters.

- *once, gradients only*: all gradients are read at one step of the epoch: norms, units without gradient, zeros,
  non-finite entries.
- *once*: that, and the end of the epoch: norms of all weights, their relative updates, non-finite weights, the message.
- *default*: gradients at {default} steps spread over the epoch, and the end of the epoch.
- *every step*: gradients at all {steps} steps, and the end of the epoch.
- *floor*: reading every gradient once, a sum over each tensor, in the steps between those that are sampled.
- *histograms*: `torch.utils.tensorboard`, weights and gradients once an epoch, until they are in the file.
- *backward hooks*: a full backward hook on every convolution and linear layer, taking the norm of what comes back. On
  all modules it ends torchvision's residual networks with an error, as these add to an output in place.
"""
TARGETS: dict[str, tuple[Callable[[Measured], Seconds], float, str]] = {
    "once, gradients only": (lambda found: found.share(found.epoch(1, with_end=False)), 0.001, "{:.3%}"),
    "once, with relative updates": (lambda found: found.share(found.epoch(1)), 0.003, "{:.3%}"),
    "default": (lambda found: found.share(found.epoch(N_DEFAULT_SAMPLES)), 0.01, "{:.3%}"),
    "every step: one sample, times the floor": (lambda found: found.times_floor(), 2.0, "{:.2f}"),
}
TARGET_MODEL = "resnet18"


def report(measured: Mapping[str, Measured]) -> str:
    parts = [
        PREFACE.format(
            command=" ".join(["python", "benchmarks/overhead.py", *map(shlex.quote, sys.argv[1:])]),
            size=IMAGE_SIZE,
            batch=BATCH_SIZE,
            steps=N_STEPS,
            threads=N_THREADS,
            cores=os.cpu_count(),
            processor=processor_name(),
            python=platform.python_version(),
            torch=torch.__version__,
            default=N_DEFAULT_SAMPLES,
        )
    ]
    if TARGET_MODEL in measured:
        parts.append(target_table(measured[TARGET_MODEL]))
    parts += [model_part(name, found) for name, found in measured.items()]
    parts.append(memory_table(measured))
    return "\n".join(parts)


def target_table(found: Measured) -> str:
    lines = table_head(["what (calls)", "target", "processor time", "wall time", "met"])
    for name, (figure, limit, form) in TARGETS.items():
        value = figure(found)
        verdict = "yes" if value.processor <= limit else "no"
        numbers = [form.format(number) for number in (limit, value.processor, value.wall)]
        lines.append(table_row([name, *numbers, verdict]))
    return "\n".join([f"## Targets, on {TARGET_MODEL}", "", *lines, ""])


def model_part(name: str, found: Measured) -> str:
    step, n_epochs = found.median("step"), len(found.calls["end_epoch"])
    rows: list[tuple[str, Seconds, str]] = [
        ("once, gradients only", found.epoch(1, with_end=False), "-"),
        ("once", found.epoch(1), found.paired("once")),
        ("default", found.epoch(N_DEFAULT_SAMPLES), found.paired("default")),
        ("every step", found.epoch(N_STEPS), found.paired("every step")),
        ("floor, every step", found.total({"floor": N_STEPS}), "-"),
        ("histograms", found.total({"histograms": 1}), found.paired("histograms")),
    ]
    names = ["an epoch", "calls: ms, processor (wall)", "their share, processor (wall)", "pairs: processor time more"]
    lines = [
        f"## {name}",
        "",
        f"A training step: {milliseconds(step)}. Calls from {n_epochs} epochs, pairs from "
        f"{len(found.pairs[PLAIN]) // N_STEPS}, after one that warms up.",
        "",
        *table_head(names),
    ]
    for label, cost, pairs in rows:
        share = found.share(cost)
        calls = f"{cost.processor * MILLI:.2f} ({cost.wall * MILLI:.2f})"
        lines.append(table_row([label, calls, f"{share.processor:.3%} ({share.wall:.3%})", pairs]))
    lines.append(table_row(["backward hooks", "-", "-", found.paired("backward hooks")]))
    singles = {"sample": "one sample", "passed": "a step that is no sample", "floor": "floor", "end_epoch": "end_epoch"}
    each = "; ".join(f"{label} {milliseconds(found.median(kind))}" for kind, label in singles.items())
    first = milliseconds(found.median("first_sample"))
    ratio = found.times_floor()
    return "\n".join(
        [
            *lines,
            "",
            f"Single calls: {each}; the first sample of all, which copies the weights, {first}. A sample takes "
            f"{ratio.processor:.2f} ({ratio.wall:.2f}) times the floor.",
            "",
        ]
    )


def memory_table(measured: Mapping[str, Measured]) -> str:
    lines = [
        "## Memory",
        "",
        "MiB of tensors, by the allocator's own account. The monitor keeps one copy of the weights, for the relative",
        "updates; the peak is what one of its calls holds at once besides.",
        "",
        *table_head(["network", "all parameters", "weights measured", "kept by the monitor", "peak in a call"]),
    ]
    for name, found in measured.items():
        sizes = [f"{found.memory[kind] / MEBI:.3f}" for kind in ("parameters", "weights", "kept", "peak")]
        lines.append(table_row([name, *sizes]))
    return "\n".join([*lines, ""])


def milliseconds(seconds: Seconds) -> str:
    return f"{seconds.processor * MILLI:.3g} ms of processor time ({seconds.wall * MILLI:.3g} ms of wall time)"


def processor_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def measure_in_child(name: str, scale: float) -> Measured:
    command = [sys.executable, __file__, "--here", "--models", name, "--scale", str(scale)]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return Measured(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--scale", type=float, default=1.0, help="times the number of epochs")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--here", action="store_true", help="measure in this process, print JSON")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.models[0], options.scale)))
        return
    measured = {}
    for name in options.models:
        measured[name] = measure_in_child(name, options.scale)
        print(model_part(name, measured[name]), flush=True)
        options.output.write_text(report(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
