"""Small networks on scikit-learn's digits with one planted fault each, trained under the real monitor.

A *family* is one network, optimizer and seed: its healthy run and every plant start from the same random numbers and
see the same batches, so they differ by the plant alone.  Beside what the monitor reports, each run carries *evidence*:
exact numbers of the full training data by plain autograd, which share no code with the monitor.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nni_dream.feedback import EpochFeedback, Json, TrialFeedback, parse_metric
from nni_dream.monitor import FeedbackMonitor
from nni_dream.reporting import InMemoryReporter
from nni_dream.search.conditions import Gradient

__all__ = [
    "NETWORKS",
    "N_CLASSES",
    "N_EPOCHS",
    "OPTIMIZERS",
    "PLANTS",
    "Evidence",
    "Family",
    "Moment",
    "Network",
    "Plant",
    "Probe",
    "Run",
    "probe",
    "train",
]

N_TRAIN, N_VALIDATION, N_CLASSES, IMAGE_SIDE = 480, 200, 10, 8
N_EPOCHS, BATCH_SIZE = 8, 32
MIDDLE_EPOCH: Final = N_EPOCHS // 2  # evidence is taken before this epoch, counted from 0

ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
ACTIVATION_CLASSES: Final = (nn.ReLU, nn.Tanh, nn.Sigmoid)
# Standard deviation of a hidden weight times the square root of its fan-in: He for ReLU, else Glorot.
SANE_SCALES: Final = {"relu": math.sqrt(2), "tanh": 1.0, "sigmoid": 1.0}

BIAS_SCALE: Final = 0.1  # standard deviation of a sane bias


@dataclass(frozen=True)
class Network:
    """An architecture; `depth` counts hidden layers, and of a residual network its blocks of two."""

    kind: str  # mlp, cnn, residual (with batch norm)
    depth: int
    width: int  # units or channels of each hidden layer

    def __str__(self) -> str:
        return f"{self.kind} {self.depth}x{self.width}"


@dataclass(frozen=True)
class Plant:
    """What is done to a sane training; `gradient` is what it is meant to be diagnosed as."""

    name: str
    gradient: Gradient
    activation: str = "relu"
    scale: float = 1.0  # of the hidden weights, times the sane one
    bias: float = 0.0  # of hidden layers
    is_bias_in_all_layers: bool = True  # else in the first one only
    rate_factor: float = 1.0  # times the optimizer's sane learning rate
    overflow_epoch: int | None = None  # before it the output weights are multiplied to the end of float32
    warm_epochs: int = 0  # of sane training before the monitor comes

    @property
    def is_fault(self) -> bool:
        return not self.name.startswith("healthy")


@dataclass(frozen=True)
class Family:
    network: Network
    optimizer: str
    seed: int


@dataclass(frozen=True)
class Probe:
    """Exact numbers of one moment: full training data, double precision, batch norm on the statistics of that data."""

    error_growth: float | None  # RMS of dLoss/dActivation, first / last hidden layer; None if not finite, or 0 / 0
    silent_share: float  # share of hidden ReLU units that are active for no sample, 0..1; 0 without ReLU
    has_silent_layer: bool  # a hidden layer all of whose ReLU units are silent


@dataclass(frozen=True)
class Moment:
    """Exact numbers at the end of an epoch, in the precision of the training."""

    loss: float  # full training data, as the model would be used; and so below
    accuracy: float
    do_weights_fit: bool  # the L2 norm of every parameter tensor is finite
    n_nonfinite_steps: int  # steps of the epoch in which an entry of a gradient was NaN or infinite


@dataclass(frozen=True)
class Evidence:
    """What really happened, measured without the monitor."""

    start: Probe
    middle: Probe
    moments: tuple[Moment, ...]  # one an epoch


@dataclass(frozen=True)
class Run:
    family: Family
    plant: Plant
    evidence: Evidence
    feedback: TrialFeedback  # as the messages to NNI carried it

    @property
    def epochs(self) -> Sequence[EpochFeedback]:
        return self.feedback.epochs

    def __str__(self) -> str:
        return f"{self.family.network}, {self.family.optimizer}, seed {self.family.seed}: {self.plant.name}"


NETWORKS: Final = (
    *(Network("mlp", depth, width) for depth in (3, 6, 10) for width in (32, 64)),
    *(Network("cnn", depth, width) for depth in (3, 6) for width in (8, 16)),
    *(Network("residual", depth, width) for depth in (2, 4) for width in (8, 16)),
)
PLANTS: Final = (
    Plant("healthy", Gradient.NORMAL),
    Plant("healthy tanh", Gradient.NORMAL, activation="tanh"),
    Plant("healthy, warm start", Gradient.NORMAL, warm_epochs=3),
    Plant("healthy, converged", Gradient.NORMAL, warm_epochs=16),
    Plant("slow, rate / 1000", Gradient.NORMAL, rate_factor=1e-3),
    Plant("slow, rate / 100", Gradient.NORMAL, rate_factor=1e-2),
    Plant("vanishing, sigmoid", Gradient.VANISHING, activation="sigmoid"),
    Plant("vanishing, scale / 10", Gradient.VANISHING, scale=0.1),
    Plant("exploding, scale x 4", Gradient.EXPLODING, scale=4.0),
    Plant("exploding, tanh, scale x 8", Gradient.EXPLODING, activation="tanh", scale=8.0),
    Plant("dying, all biases -10", Gradient.DYING, bias=-10.0),
    Plant("dying, all biases -3", Gradient.DYING, bias=-3.0),
    Plant("dying, first biases -20", Gradient.DYING, bias=-20.0, is_bias_in_all_layers=False),
    Plant("overflow, rate x 1e8", Gradient.EXPLODING, rate_factor=1e8),
    Plant("overflow, output weights", Gradient.EXPLODING, overflow_epoch=3),
)
OPTIMIZERS: Final[dict[str, Callable[[Iterator[nn.Parameter], float], torch.optim.Optimizer]]] = {
    "sgd": lambda parameters, factor: torch.optim.SGD(parameters, lr=0.05 * factor),
    "momentum": lambda parameters, factor: torch.optim.SGD(parameters, lr=0.02 * factor, momentum=0.9),
    "adam": lambda parameters, factor: torch.optim.Adam(parameters, lr=0.003 * factor),
}


class Digits(NamedTuple):
    """Images (N, 1, 8, 8), standardised as a whole, and classes (N,)."""

    train_images: Tensor
    train_classes: Tensor
    validation_images: Tensor
    validation_classes: Tensor


def train(family: Family, plant: Plant) -> Run:
    """Train one plant under a monitor; the same arguments give the same run."""
    digits = load_split(family.seed)
    torch.manual_seed(family.seed)
    model = build(family.network, plant)
    warm_up(model, family, plant, digits)
    optimizer = OPTIMIZERS[family.optimizer](model.parameters(), plant.rate_factor)
    reporter = InMemoryReporter()
    monitor = FeedbackMonitor(model, optimizer, planned_epochs=N_EPOCHS, parameters={}, reporter=reporter)
    start = middle = probe(model, digits.train_images, digits.train_classes)
    moments = []
    shuffling = torch.Generator().manual_seed(family.seed)
    for epoch in range(N_EPOCHS):
        if epoch == MIDDLE_EPOCH:
            middle = probe(model, digits.train_images, digits.train_classes)
        if epoch == plant.overflow_epoch:
            overflow_output(model)
        epoch_result = train_epoch(model, optimizer, digits, shuffling)
        val_loss, val_accuracy = evaluate(model, digits.validation_images, digits.validation_classes)
        monitor.end_epoch(
            train_loss=epoch_result.loss, train_score=epoch_result.accuracy, val_loss=val_loss, val_score=val_accuracy
        )
        loss, accuracy = evaluate(model, digits.train_images, digits.train_classes)
        moments.append(Moment(loss, accuracy, do_norms_fit(model.parameters()), epoch_result.n_nonfinite_steps))
    monitor.finish()
    return Run(family, plant, Evidence(start, middle, tuple(moments)), read_back(reporter.intermediate))


def read_back(metrics: list[dict[str, Json]]) -> TrialFeedback:
    """Return what the tuner would know of a trial that sent these."""
    feedback = TrialFeedback()
    for metric in metrics:
        message = parse_metric(metric)
        assert message is not None
        feedback = message.merge(feedback)
    return feedback


def warm_up(model: nn.Module, family: Family, plant: Plant, digits: Digits) -> None:
    optimizer = OPTIMIZERS[family.optimizer](model.parameters(), plant.rate_factor)
    shuffling = torch.Generator().manual_seed(family.seed + 1)
    for _ in range(plant.warm_epochs):
        train_epoch(model, optimizer, digits, shuffling)


@functools.cache
def load_split(seed: int) -> Digits:
    images, classes = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[: N_TRAIN + N_VALIDATION]
    pixels = torch.as_tensor(images, dtype=torch.float32)[order].reshape(-1, 1, IMAGE_SIDE, IMAGE_SIDE)
    pixels = (pixels - pixels[:N_TRAIN].mean()) / pixels[:N_TRAIN].std()
    labels = torch.as_tensor(classes)[order]
    return Digits(pixels[:N_TRAIN], labels[:N_TRAIN], pixels[N_TRAIN:], labels[N_TRAIN:])


def build(network: Network, plant: Plant) -> nn.Sequential:
    """Return a network whose random numbers do not depend on the plant."""
    layers = BUILDERS[network.kind](network, ACTIVATIONS[plant.activation])
    model = nn.Sequential(*layers)
    hidden = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))][:-1]
    for module in hidden:
        nn.init.normal_(module.weight, std=plant.scale * SANE_SCALES[plant.activation] / math.sqrt(fan_in(module)))
    output = model[-1]
    nn.init.normal_(output.weight, std=1 / math.sqrt(fan_in(output)))
    nn.init.zeros_(output.bias)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    biased: Sequence[nn.Module] = norms or hidden  # a bias before batch norm does nothing
    for i, module in enumerate(biased):
        mean = plant.bias if i == 0 or plant.is_bias_in_all_layers else 0.0
        nn.init.normal_(module.bias, mean, BIAS_SCALE)
    return model


def fan_in(module: nn.Module) -> int:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight[0].numel()


def build_mlp(network: Network, activation: Callable[[], nn.Module]) -> Iterator[nn.Module]:
    yield nn.Flatten()  # (N, 64)
    n_inputs = IMAGE_SIDE**2
    for _ in range(network.depth):
        yield nn.Linear(n_inputs, network.width)
        yield activation()
        n_inputs = network.width
    yield nn.Linear(n_inputs, N_CLASSES)


def build_cnn(network: Network, activation: Callable[[], nn.Module]) -> Iterator[nn.Module]:
    n_channels = 1
    for i in range(network.depth):
        yield nn.Conv2d(n_channels, network.width, 3, padding=1, stride=2 if i == 1 else 1)
        yield activation()
        n_channels = network.width
    yield nn.Flatten()  # (N, 16 * width)
    yield nn.Linear(n_channels * (IMAGE_SIDE // 2) ** 2, N_CLASSES)


def build_residual(network: Network, activation: Callable[[], nn.Module]) -> Iterator[nn.Module]:
    yield nn.Conv2d(1, network.width, 3, padding=1, stride=2, bias=False)
    yield nn.BatchNorm2d(network.width)
    yield activation()
    for _ in range(network.depth):
        yield ResidualBlock(network.width, activation)
    yield nn.Flatten()
    yield nn.Linear(network.width * (IMAGE_SIDE // 2) ** 2, N_CLASSES)


class ResidualBlock(nn.Module):
    def __init__(self, width: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), activation(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(x + self.branch(x))
        return y


BUILDERS: Final[dict[str, Callable[[Network, Callable[[], nn.Module]], Iterator[nn.Module]]]] = {
    "mlp": build_mlp,
    "cnn": build_cnn,
    "residual": build_residual,
}


class EpochResult(NamedTuple):
    """As a training loop sees it, while the weights change."""

    loss: float
    accuracy: float
    n_nonfinite_steps: int


def train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, digits: Digits, shuffling: torch.Generator
) -> EpochResult:
    losses, n_right, n_nonfinite_steps = [], 0, 0
    for batch in torch.randperm(N_TRAIN, generator=shuffling).split(BATCH_SIZE):
        scores = model(digits.train_images[batch])
        loss = cross_entropy(scores, digits.train_classes[batch])
        optimizer.zero_grad()
        loss.backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        n_nonfinite_steps += not all(bool(gradient.isfinite().all()) for gradient in gradients)
        optimizer.step()
        losses.append(loss.item())
        n_right += int((scores.argmax(1) == digits.train_classes[batch]).sum())
    return EpochResult(sum(losses) / len(losses), n_right / N_TRAIN, n_nonfinite_steps)


@torch.no_grad()
def evaluate(model: nn.Module, images: Tensor, classes: Tensor) -> tuple[float, float]:
    """Return loss and accuracy of the model as it would be used."""
    model.eval()
    scores = model(images)
    model.train()
    return cross_entropy(scores, classes).item(), float((scores.argmax(1) == classes).float().mean())


@torch.no_grad()
def overflow_output(model: nn.Sequential) -> None:
    model[-1].weight.mul_(torch.finfo(torch.float32).max)


@torch.no_grad()
def do_norms_fit(parameters: Iterable[Tensor]) -> bool:
    return all(bool(torch.linalg.vector_norm(parameter).isfinite()) for parameter in parameters)


def probe(model: nn.Module, images: Tensor, classes: Tensor) -> Probe:
    """Measure a copy of the model by plain autograd; the model stays as it is."""
    twin = copy.deepcopy(model).double().train()
    outputs: list[Tensor] = []  # of the hidden layers, in forward order
    activations = [module for module in twin.modules() if isinstance(module, ACTIVATION_CLASSES)]
    for module in activations:
        module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    loss = cross_entropy(twin(images.double()), classes, reduction="sum")
    errors = torch.autograd.grad(loss, outputs)
    silent = [unit_is_silent(output) for output in outputs] if isinstance(activations[0], nn.ReLU) else []
    return Probe(
        error_growth=quotient(rms(errors[0]), rms(errors[-1])),
        silent_share=float(torch.cat(silent).double().mean()) if silent else 0.0,
        has_silent_layer=any(bool(units.all()) for units in silent),
    )


def unit_is_silent(output: Tensor) -> Tensor:
    """Whether each unit (column, or channel) is zero for every sample and place; shape (units,)."""
    return (output.transpose(0, 1).flatten(1) == 0).all(dim=1)


def rms(tensor: Tensor) -> float:
    return float(tensor.square().mean().sqrt())


def quotient(numerator: float, denominator: float) -> float | None:
    if not (math.isfinite(numerator) and math.isfinite(denominator)) or numerator == denominator == 0:
        return None
    return numerator / denominator if denominator else math.inf
