"""Channels last on either device; and what a GPU gets (mixed precision, data ahead of time), as a CPU computes it."""

import itertools

import pytest
import torch
from torch import nn

from nni_dream.automl.acceleration import (
    Acceleration,
    acceleration_of,
    as_input,
    is_out_of_memory,
    move_ahead,
    on_device,
    to_device,
)
from nni_dream.automl.evaluation import Samples, evaluate
from nni_dream.automl.models.image import build_image_model, measure_channels
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.training import Trainer
from nni_dream.automl.weights import WeightsSource
from nni_dream.monitor import FeedbackMonitor
from nni_dream.reporting import InMemoryReporter

CPU = torch.device("cpu")
AS_ON_A_GPU = Acceleration(torch.bfloat16)
AS_ON_A_CPU = Acceleration()
PLAIN = Acceleration(None, torch.contiguous_format)
BLOCKS = ["vanilla", "resnet", "efficient", "xception"]


def samples(n, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    pixels = torch.randint(0, 60, (n, 3, 16, 16), generator=generator, dtype=torch.uint8)
    for i, label in enumerate(labels.tolist()):
        pixels[i, :, :, 4 * label : 4 * label + 4] += 150  # something to learn
    return Samples(pixels, labels)


TRAIN, VALIDATION = samples(64, seed=1), samples(32, seed=2)


def build(block, **parameters):
    settings = read_settings("image_classification", {"block_type": block, "learning_rate": 0.01, **parameters})
    torch.manual_seed(0)
    statistics = measure_channels(TRAIN.inputs)
    return settings, build_image_model(settings, 4, (3, 16, 16), statistics=statistics, source=WeightsSource("tiny"))


def fit(block, acceleration, epochs=3, **parameters):
    settings, model = build(block, **parameters)
    model = model.to(memory_format=acceleration.memory_format)
    trainer = Trainer(model, settings, epochs=epochs, acceleration=acceleration)
    monitor = FeedbackMonitor(
        model, trainer.optimizer, planned_epochs=epochs, parameters=settings.to_nested(), reporter=InMemoryReporter()
    )
    trainer.fit(TRAIN, VALIDATION, monitor=monitor, on_best=lambda: None)
    return model, monitor.finish().epochs


def first_convolution(model):
    return next(module for module in model.modules() if isinstance(module, nn.Conv2d))


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("acceleration", [AS_ON_A_GPU, AS_ON_A_CPU], ids=["gpu", "cpu"])
def test_what_is_faster_trains_every_block(block, acceleration):
    model, epochs = fit(block, acceleration)
    plain, _ = fit(block, PLAIN)
    assert all(parameter.dtype is torch.float32 for parameter in model.parameters())
    assert epochs[-1].train_loss < epochs[0].train_loss
    assert all(epoch.n_nonfinite_gradients == epoch.n_nonfinite_weights == 0 for epoch in epochs)
    differences = [not torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True)]
    assert any(differences)  # so it did compute in another format


@pytest.mark.parametrize("acceleration", [AS_ON_A_GPU, AS_ON_A_CPU, PLAIN], ids=["gpu", "cpu", "plain"])
def test_what_the_layers_see(acceleration):
    settings, model = build("resnet")
    model = model.to(memory_format=acceleration.memory_format)
    seen = []

    def look(module, inputs, output):
        seen.append((inputs[0].is_contiguous(memory_format=acceleration.memory_format), output.dtype, module.training))

    first_convolution(model).register_forward_hook(look)
    trainer = Trainer(model, settings, epochs=1, acceleration=acceleration)
    monitor = FeedbackMonitor(model, trainer.optimizer, planned_epochs=1, parameters={}, reporter=InMemoryReporter())
    trainer.fit(TRAIN, VALIDATION, monitor=monitor, on_best=lambda: None)
    dtype = acceleration.precision or torch.float32
    assert set(seen) == {(True, dtype, True), (True, dtype, False)}  # in training and in evaluation


@pytest.mark.parametrize("block", BLOCKS)
def test_an_accelerated_score_is_nearly_the_plain_one(block):
    model, _ = fit(block, PLAIN)
    plain, last, fast = (evaluate(model, VALIDATION, acceleration=a) for a in (PLAIN, AS_ON_A_CPU, AS_ON_A_GPU))
    assert last.loss == pytest.approx(plain.loss, rel=1e-4, abs=1e-6)
    assert last.accuracy == plain.accuracy
    assert fast.loss == pytest.approx(plain.loss, rel=0.05, abs=0.02)
    assert fast.accuracy == pytest.approx(plain.accuracy, abs=2 / len(VALIDATION))


@pytest.mark.parametrize("acceleration", [AS_ON_A_GPU, AS_ON_A_CPU], ids=["gpu", "cpu"])
def test_the_seed_decides_the_result(acceleration):
    first, second = (fit("resnet", acceleration, augment="true", dropout=0.5)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_ids_of_terms_stay_whole_numbers():
    ids = torch.tensor([[1, 2]], dtype=torch.int32)
    assert as_input(ids, torch.channels_last) is ids


def test_a_cpu_computes_in_full_precision():
    assert acceleration_of(CPU) == AS_ON_A_CPU
    assert not acceleration_of(CPU).autocast(CPU)._enabled


@pytest.mark.parametrize(
    ("capability", "precision"), [((7, 0), None), ((7, 5), None), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]
)
def test_a_gpu_computes_in_what_it_has(capability, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert acceleration_of(torch.device("cuda")) == Acceleration(precision)


def test_a_model_stays_where_it_is_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = nn.Sequential(nn.Conv2d(2, 3, 5), nn.Linear(1, 1))
    weight = model[0].weight
    assert on_device(model) is model
    assert model[0].weight is weight
    assert (weight.device, weight.is_contiguous(memory_format=torch.channels_last)) == (CPU, True)


def test_data_move_ahead_where_they_fit(monkeypatch):
    """To the meta device, which is another one that every machine has."""
    other = torch.device("meta")
    tensors = (torch.zeros(10), torch.zeros(2))
    assert [tensor.device for tensor in move_ahead(tensors, other)] == [other, other]
    assert move_ahead(tensors, CPU) is tensors
    assert to_device(tensors, CPU) is tensors
    monkeypatch.setattr("nni_dream.automl.acceleration.RESIDENT_BYTES", 47)
    assert move_ahead(tensors, other) is tensors  # 48 bytes


@pytest.mark.parametrize(("error", "is_memory"), [(torch.OutOfMemoryError("CUDA"), True), (RuntimeError("x"), False)])
def test_data_that_do_not_fit_stay_where_they_are(error, is_memory, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr("nni_dream.automl.acceleration.to_device", fail)
    tensors = (torch.zeros(10), torch.zeros(2))
    assert is_out_of_memory(error) is is_memory
    if is_memory:
        assert move_ahead(tensors, torch.device("meta")) is tensors
    else:
        with pytest.raises(RuntimeError, match="x"):
            move_ahead(tensors, torch.device("meta"))


def test_samples_travel_as_a_whole_and_by_batch():
    other = torch.device("meta")
    moved = TRAIN.ahead(other)
    assert (moved.inputs.device, moved.targets.device) == (other, other)
    (batch,) = itertools.islice(TRAIN.batches(torch.arange(8), 8), 1)
    assert batch.to(other).inputs.shape == (8, 3, 16, 16)
