import math

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, NAdam

from nni_dream.automl.augmentation import augment
from nni_dream.automl.image_parameters import Augmentation, read_image_parameters
from nni_dream.automl.models import build_model
from nni_dream.automl.training import (
    Images,
    Samples,
    Trainer,
    TrainingError,
    build_optimizer,
    build_schedule,
    evaluate,
    evaluate_in_memory,
)

SMALL = {"_name": "vanilla", "filters": 8, "num_blocks": 1, "num_layers": 1}


class Notes:
    """A monitor that writes down what it is told."""

    def __init__(self):
        self.epochs = []

    def end_epoch(self, *, train_loss, val_loss, train_score, val_score):
        self.epochs.append((train_loss, val_loss, train_score, val_score))


def random_images(n_images, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n_images) % 10
    pixels = torch.randn(n_images, 1, 8, 8, generator=generator)
    pixels[torch.arange(n_images), 0, labels % 8, labels // 2] += 4  # something to learn
    return Images(pixels, labels)


def fit(parameters, *, seed=0, on_best=lambda: None, **options):
    read = read_image_parameters({"block_type": SMALL, **parameters})
    torch.manual_seed(seed)
    model = build_model(read, 10, (1, 8, 8))
    notes = Notes()
    trainer = Trainer(model, read, seed=seed, **options)
    best = trainer.fit(random_images(100, seed=1), random_images(40, seed=2), monitor=notes, on_best=on_best)
    return model, notes.epochs, best


def test_what_is_not_a_number_is_no_right_answer():
    class Echo(nn.Linear):
        def forward(self, inputs):
            return inputs

    outputs = torch.tensor([[2.0, 1.0], [math.nan, math.nan], [math.nan, 0.0], [math.inf, 0.0]])
    score = evaluate(Echo(1, 1), Samples(outputs, torch.zeros(4, dtype=torch.long)))
    assert score.accuracy == 2 / 4


@pytest.mark.parametrize(
    ("optimizer", "expected_class", "expected_settings"),
    [
        ({"_name": "adam"}, Adam, {"lr": 0.01, "weight_decay": 0}),
        ({"_name": "sgd", "momentum": 0.9}, SGD, {"lr": 0.01, "momentum": 0.9, "weight_decay": 0}),
        ({"_name": "adam_weight_decay", "weight_decay_rate": 0.05}, AdamW, {"lr": 0.01, "weight_decay": 0.05}),
        ({"_name": "nadam"}, NAdam, {"lr": 0.01, "weight_decay": 0}),
    ],
)
def test_build_optimizer(optimizer, expected_class, expected_settings):
    built = build_optimizer(nn.Linear(2, 2), read_image_parameters({"optimizer": optimizer, "learning_rate": 0.01}))
    assert type(built) is expected_class
    assert {name: built.param_groups[0][name] for name in expected_settings} == expected_settings


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("adam", [0.1, 0.1, 0.1, 0.1, 0.1]),
        ({"_name": "adam_weight_decay", "end_learning_rate": 0.0}, [0.1, 0.075, 0.05, 0.025, 0.0]),
        ({"_name": "adam_weight_decay", "end_learning_rate": 0.02}, [0.1, 0.08, 0.06, 0.04, 0.02]),
        ({"_name": "adam_weight_decay", "end_learning_rate": 0.3}, [0.1, 0.15, 0.2, 0.25, 0.3]),
    ],
)
def test_build_schedule(optimizer, expected):
    parameters = read_image_parameters({"optimizer": optimizer, "learning_rate": 0.1})
    built = build_optimizer(nn.Linear(2, 2), parameters)
    schedule = build_schedule(built, parameters, n_steps=4)
    rates = []
    for _ in expected:
        rates.append(built.param_groups[0]["lr"])
        built.step()
        schedule.step()
    assert rates == pytest.approx(expected)


def test_fit_tells_the_monitor_every_epoch_and_learns():
    model, epochs, best = fit({"learning_rate": 0.01}, epochs=8)
    assert len(epochs) == 8
    assert all(math.isfinite(number) for epoch in epochs for number in epoch)
    assert epochs[-1][0] < epochs[0][0]
    assert best.accuracy == max(val_score for *_, val_score in epochs) > 0.3  # by chance: 0.1
    assert evaluate(model, random_images(40, seed=2)) == pytest.approx((epochs[-1][1], epochs[-1][3]))


@pytest.mark.parametrize("augmentation", ["true", "false"])
def test_the_seed_decides_the_result(augmentation):
    first, second = (fit({"augment": augmentation, "dropout": 0.5}, epochs=2, seed=7)[0] for _ in range(2))
    other = fit({"augment": augmentation, "dropout": 0.5}, epochs=2, seed=8)[0]
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    assert not any(map(torch.equal, first.parameters(), other.parameters()))


def test_best_epochs_are_announced():
    announced = []
    _, epochs, best = fit({}, epochs=6, on_best=lambda: announced.append(None))
    scores = [val_score for *_, val_score in epochs]
    assert len(announced) == sum(score > max(scores[:i], default=-1) for i, score in enumerate(scores))
    assert best.accuracy == max(scores)


@pytest.mark.parametrize(("patience", "n_epochs"), [(3, 4), (None, 6)])
def test_patience(patience, n_epochs):
    _, epochs, _ = fit({"learning_rate": 1e-12}, epochs=6, patience=patience)  # the first epoch stays the best
    assert len(epochs) == n_epochs


def test_a_loss_that_is_no_number_does_not_stop_the_training():
    _, epochs, best = fit({"optimizer": {"_name": "sgd"}, "learning_rate": 1e30}, epochs=3)
    assert len(epochs) == 3
    assert math.isnan(epochs[-1][0])
    assert 0 <= best.accuracy <= 1


@pytest.mark.parametrize("largest", [512, 100, 1])
def test_what_does_not_fit_into_memory_is_scored_in_smaller_batches(largest):
    sizes = []

    class Hungry(nn.Linear):
        def forward(self, inputs):
            if len(inputs) > largest:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            sizes.append(len(inputs))
            return super().forward(inputs)

    samples = Samples(torch.rand(130, 4), torch.arange(130) % 3)
    model = Hungry(4, 3)
    score = evaluate_in_memory(model, samples)
    assert max(sizes) == {512: 130, 100: 64, 1: 1}[largest]
    assert score == pytest.approx(evaluate(model, samples, batch_size=1))


def test_a_sample_that_does_not_fit_into_memory_is_told():
    class Hungry(nn.Linear):
        def forward(self, inputs):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(TrainingError, match="out of memory with one sample in a batch"):
        evaluate_in_memory(Hungry(4, 3), Samples(torch.rand(3, 4), torch.arange(3)))


def test_evaluate_in_batches_equals_evaluate_at_once():
    images = random_images(1100, seed=3)  # three batches
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    score = evaluate(model, images)
    logits = model(images.pixels)
    assert score.loss == pytest.approx(nn.functional.cross_entropy(logits, images.labels).item(), rel=1e-5)
    assert score.accuracy == pytest.approx((logits.argmax(1) == images.labels).float().mean().item())


def test_augmentation_of_size_zero_changes_nothing():
    pixels = random_images(16, seed=0).pixels
    nothing = Augmentation(translation=0.0, rotation=0.0, zoom=0.0)
    assert torch.allclose(augment(pixels, nothing, generator=torch.Generator()), pixels, atol=1e-5)


@pytest.mark.parametrize("name", ["translation", "rotation", "zoom"])
def test_each_augmentation_changes_each_image_in_its_own_way(name):
    pixels = random_images(1, seed=0).pixels.expand(16, -1, -1, -1)
    before = pixels.clone()
    only = Augmentation(**{"translation": 0.0, "rotation": 0.0, "zoom": 0.0, name: 0.1})
    changed = augment(pixels, only, generator=torch.Generator().manual_seed(0))
    assert changed.shape == pixels.shape
    assert torch.equal(pixels, before)
    assert len({image.numpy().tobytes() for image in [before[0], *changed]}) == 17


def test_translation_moves_by_a_tenth_at_most():
    columns = torch.arange(8.0).expand(200, 1, 8, 8)
    only = Augmentation(translation=0.1, rotation=0.0, zoom=0.0)
    shifts = (augment(columns, only, generator=torch.Generator().manual_seed(0)) - columns)[:, 0, 2:6, 2:6]
    assert torch.allclose(shifts, shifts[:, :1, :1].expand_as(shifts), atol=1e-4)
    assert shifts.min().item() == pytest.approx(-0.8, abs=0.05)
    assert shifts.max().item() == pytest.approx(0.8, abs=0.05)


def test_rotation_turns_by_a_tenth_of_a_full_turn_at_most():
    columns = torch.arange(8.0).expand(200, 1, 8, 8) - 3.5
    only = Augmentation(translation=0.0, rotation=0.1, zoom=0.0)
    turned = augment(columns, only, generator=torch.Generator().manual_seed(0))[:, 0, 3:5, 3:5]
    angles = torch.atan2(turned[:, 1, 0] - turned[:, 0, 0], turned[:, 0, 1] - turned[:, 0, 0]).abs()
    assert angles.max().item() == pytest.approx(0.2 * math.pi, abs=0.03)
