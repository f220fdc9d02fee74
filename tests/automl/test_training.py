import math

import pytest
import torch
from torch import nn

from nni_dream.automl.augmentation import augment
from nni_dream.automl.digits_parameters import Augmentation, read_digits_parameters
from nni_dream.automl.evaluation import Samples, TrainingError, evaluate
from nni_dream.automl.models.digits import build_digits_model
from nni_dream.automl.models.heads import TargetScaling
from nni_dream.automl.models.image import ChannelStatistics, build_image_model
from nni_dream.automl.samples import measure_targets
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.training import Trainer
from nni_dream.automl.weights import WeightsSource

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
    return Samples(pixels, labels)


def fit(parameters, *, seed=0, on_best=lambda: None, **options):
    read = read_digits_parameters({"block_type": SMALL, **parameters})
    torch.manual_seed(seed)
    model = build_digits_model(read, 10, (1, 8, 8))
    notes = Notes()
    trainer = Trainer(model, read, seed=seed, **options)
    best = trainer.fit(random_images(100, seed=1), random_images(40, seed=2), monitor=notes, on_best=on_best)
    return model, notes.epochs, best


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


def fit_four_pixels(n_samples, batch_size):
    """Train a residual network on images of 4 x 4 pixels, which are 1 x 1 in its last layers."""
    settings = read_settings("image_classification", {"block_type": {"_name": "resnet", "imagenet_size": False}})
    statistics = ChannelStatistics((128.0,), (64.0,))
    model = build_image_model(settings, 2, (1, 4, 4), statistics=statistics, source=WeightsSource("tiny"))
    samples = Samples(torch.rand(n_samples, 1, 4, 4), torch.arange(n_samples) % 2)
    trainer = Trainer(model, settings, epochs=1, batch_size=batch_size)
    return trainer.fit(samples, samples, monitor=Notes(), on_best=lambda: None)


@pytest.mark.parametrize(("n_samples", "batch_size"), [(4, 1), (1, 32)])
def test_batch_normalisation_of_one_pixel_and_a_batch_of_one(n_samples, batch_size):
    with pytest.raises(TrainingError, match=r"^batch size is 1, but batch normalisation needs 2 samples or more$"):
        fit_four_pixels(n_samples, batch_size)


def test_batch_normalisation_of_one_pixel_trains_on_two():
    assert math.isfinite(fit_four_pixels(3, 2).loss)  # the third sample joins the first two


def test_another_error_of_a_network_is_left_as_it_is(monkeypatch):
    def forward(*_):
        raise ValueError("of another kind")

    monkeypatch.setattr(nn.Flatten, "forward", forward)
    with pytest.raises(ValueError, match=r"^of another kind$"):
        fit({})


def test_augmentation_of_size_zero_changes_nothing():
    pixels = random_images(16, seed=0).inputs
    nothing = Augmentation(translation=0.0, rotation=0.0, zoom=0.0)
    assert torch.allclose(augment(pixels, nothing, generator=torch.Generator()), pixels, atol=1e-5)


@pytest.mark.parametrize("name", ["translation", "rotation", "zoom"])
def test_each_augmentation_changes_each_image_in_its_own_way(name):
    pixels = random_images(1, seed=0).inputs.expand(16, -1, -1, -1)
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


def brightness(n_images, seed):
    """Images of one brightness each, and numbers that follow from it, (N, 2), of mean about 0."""
    levels = torch.rand(n_images, generator=torch.Generator().manual_seed(seed))
    images = (255 * levels)[:, None, None, None].expand(n_images, 1, 8, 8)
    return Samples(images, torch.stack([levels - 0.5, 0.5 - levels], dim=1))


class LossNotes:
    def __init__(self):
        self.losses = []

    def end_epoch(self, *, train_loss, val_loss):
        self.losses += [train_loss, val_loss]


def fit_numbers(scale, shift):
    """Train on the numbers in another unit; return every loss in the first."""
    settings = read_settings("image_regression", {"block_type": {"_name": "vanilla"}, "learning_rate": 0.01})
    train, validation = (
        Samples(each.inputs, each.targets * scale + shift) for each in (brightness(64, 1), brightness(32, 2))
    )
    torch.manual_seed(0)
    model = build_image_model(
        settings,
        2,
        (1, 8, 8),
        statistics=ChannelStatistics((128.0,), (64.0,)),
        source=WeightsSource("tiny"),
        target_scaling=TargetScaling(*measure_targets(train.targets)),
    )
    notes = LossNotes()
    trainer = Trainer(model, settings, epochs=8, objective="regression")
    trainer.fit(train, validation, monitor=notes, on_best=lambda: None)
    return [loss / scale**2 for loss in notes.losses]


def test_a_regression_learns_the_same_whatever_the_unit_of_its_targets():
    expected = fit_numbers(1.0, 0.0)
    assert expected[-1] < expected[1] / 2
    assert fit_numbers(1e-4, 0.0) == pytest.approx(expected, rel=0.01)
    assert fit_numbers(1e6, 2e6) == pytest.approx(expected, rel=0.01)


def test_a_regression_of_constant_targets_trains():
    assert all(map(math.isfinite, fit_numbers(1e-30, 7.0)))


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e8])
def test_targets_are_measured_by_output_and_a_constant_one_is_not_divided_by_zero(constant):
    means, deviations = measure_targets(torch.tensor([[1.0, constant], [3.0, constant], [5.0, constant]]))
    assert means == pytest.approx([3.0, constant])
    assert deviations == pytest.approx([math.sqrt(8 / 3), 1.0])
