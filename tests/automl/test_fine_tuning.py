"""What the trainer does in the phases of fine-tuning, on out of memory, and for each task."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from nni_dream.automl.evaluation import Samples, TrainingError, evaluate
from nni_dream.automl.image_settings import ImageSettings
from nni_dream.automl.models.backbones import build_backbone
from nni_dream.automl.models.image import build_image_model, measure_channels
from nni_dream.automl.phases import Phase
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.training import Trainer
from nni_dream.automl.weights import WeightsSource, save_own_weights
from nni_dream.monitor import FeedbackMonitor


class Notes:
    """A monitor that copies the model after every epoch."""

    def __init__(self, model):
        self.model = model
        self.states = [copy.deepcopy(model.state_dict())]
        self.watched = []
        self.epochs = []

    def end_epoch(self, **numbers):
        self.epochs.append(numbers)
        self.states.append(copy.deepcopy(self.model.state_dict()))

    def watch(self, optimizer):
        self.watched.append(optimizer)

    def changed(self, epoch):
        """Names of what changed in an epoch; the first is 0."""
        before, after = self.states[epoch], self.states[epoch + 1]
        return {name for name in after if not torch.equal(before[name], after[name])}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    block = read_settings("image_classification", {"block_type": "resnet"}).block_type
    torch.manual_seed(1)
    backbone = build_backbone(block, (3, 16, 16), WeightsSource("tiny"))
    save_own_weights(backbone, folder, scale="tiny", version="resnet50")
    return WeightsSource("tiny", folder)


def random_samples(n_samples, seed, n_classes=4):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n_samples) % n_classes
    pixels = torch.randint(0, 60, (n_samples, 3, 16, 16), generator=generator, dtype=torch.uint8)
    for i, label in enumerate(labels.tolist()):
        pixels[i, :, :, 4 * label : 4 * label + 4] += 150  # something to learn
    return Samples(pixels, labels)


TRAIN, VALIDATION = random_samples(64, seed=1), random_samples(32, seed=2)


def settings_of(pretrained="false", **parameters) -> ImageSettings:
    block = {"_name": "resnet", "pretrained": pretrained}
    return read_settings("image_classification", {"block_type": block, "learning_rate": 0.01, **parameters})


def fit(settings, weights, *, epochs=4, n_outputs=4, train=TRAIN, validation=VALIDATION, **options):
    torch.manual_seed(0)
    statistics = measure_channels(train.inputs)
    model = build_image_model(settings, n_outputs, (3, 16, 16), statistics=statistics, source=weights)
    trainer = Trainer(model, settings, epochs=epochs, **options)
    notes = Notes(model)
    first_optimizer = trainer.optimizer
    best = trainer.fit(train, validation, monitor=notes, on_best=lambda: None)
    notes.optimizers = [first_optimizer, *notes.watched]
    return trainer, notes, best


def trainable(**two_step):
    return {"_name": "true", "trainable": {"_name": "true", "two_step": {"_name": "true", **two_step}}}


def of_backbone(names):
    return {name for name in names if name.startswith("backbone.")}


def batch_norm_names(model):
    return {
        f"{name}.{own}"
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for own in module.state_dict()
    }


def test_a_backbone_that_is_not_trainable_never_changes(weights):
    _, notes, _ = fit(settings_of({"_name": "true", "trainable": "false"}), weights, epochs=2)
    for epoch in range(2):
        assert notes.changed(epoch) == {"classifier.weight", "classifier.bias"}


def test_a_pretrained_backbone_starts_from_its_weights(weights):
    (_, fresh, _), (_, loaded, _) = (fit(settings_of(p), weights, epochs=1) for p in ("false", "true"))
    path = weights.backbone("resnet50")
    assert path.name == "tiny-resnet50.safetensors"
    assert not torch.equal(fresh.states[0]["backbone.stem.0.weight"], loaded.states[0]["backbone.stem.0.weight"])


def test_two_steps_with_all_frozen_and_then_nothing(weights):
    steps = trainable(epoch_ratio=0.5, lr_ratio=0.1, freeze="all")
    _, notes, _ = fit(settings_of(steps, optimizer={"_name": "sgd", "momentum": 0.9}), weights)
    assert [of_backbone(notes.changed(epoch)) for epoch in (0, 1)] == [set(), set()]
    everything = {name for name in notes.states[0] if not name.startswith("preprocessing")}
    assert notes.changed(2) == everything
    assert [type(optimizer) for optimizer in notes.optimizers] == [Adam, SGD]
    assert [optimizer.param_groups[0]["lr"] for optimizer in notes.optimizers] == pytest.approx([0.1, 0.01])


def test_two_steps_with_batch_norm_frozen(weights):
    _, notes, _ = fit(settings_of(trainable(epoch_ratio=0.5, freeze="bn")), weights)
    norms = of_backbone(batch_norm_names(notes.model))
    assert norms
    for epoch in (0, 1):
        assert not notes.changed(epoch) & norms  # neither weights nor statistics
        assert of_backbone(notes.changed(epoch)) == of_backbone(notes.states[0]) - norms
    assert notes.changed(2) & norms == norms


def test_two_steps_with_nothing_frozen(weights):
    _, notes, _ = fit(settings_of(trainable(epoch_ratio=0.5, freeze="no")), weights)
    assert of_backbone(notes.changed(0)) == of_backbone(notes.states[0])


def test_three_steps(weights):
    settings = settings_of(trainable(three_step=True), optimizer="sgd")
    _, notes, _ = fit(settings, weights, epochs=6)
    assert of_backbone(notes.changed(0)) == set()
    assert all(of_backbone(notes.changed(epoch)) for epoch in range(1, 6))
    assert [type(optimizer) for optimizer in notes.optimizers] == [Adam] * 3
    rates = [optimizer.param_groups[0]["lr"] for optimizer in notes.optimizers]
    assert rates == pytest.approx([0.1, 0.01, 0.001])


def test_patience_ends_a_phase_and_the_next_one_begins():
    """A head that has learned all it can is no reason to leave the backbone as it is."""
    model = Cramped(64)
    trainer = Trainer(model, settings_of(), epochs=20, patience=3)
    trainer.phases = [Phase(10, "no", settings_of().optimizer, 1e-12)] * 2  # the first epoch stays the best
    notes = Notes(model)
    trainer.fit(TRAIN, VALIDATION, monitor=notes, on_best=lambda: None)
    assert len(notes.epochs) == (1 + 3) + 3


def test_the_monitor_measures_the_backbone_from_the_second_phase_on(weights):
    torch.manual_seed(0)
    settings = settings_of(trainable(epoch_ratio=0.5))
    statistics = measure_channels(TRAIN.inputs)
    model = build_image_model(settings, 4, (3, 16, 16), statistics=statistics, source=weights)
    trainer = Trainer(model, settings, epochs=2)
    monitor = FeedbackMonitor(model, trainer.optimizer, planned_epochs=2, parameters=settings.to_nested())
    trainer.fit(TRAIN, VALIDATION, monitor=monitor, on_best=lambda: None)
    first, second = monitor.finish().epochs
    norms = [epoch.layers.gradient_norms for epoch in (first, second)]
    assert [sum(norm is not None for norm in each) for each in norms] == [1, len(norms[0])]
    assert [first.learning_rate, second.learning_rate] == pytest.approx([0.1, 0.01])


def fill_a_gpu():
    """What torch raises where there is a GPU to fill."""
    raise torch.OutOfMemoryError("CUDA out of memory")


def fill_the_machine():
    """Ask for more than any machine can address: torch's allocator fails by itself."""
    torch.empty(1 << 50, dtype=torch.uint8)


class Cramped(nn.Module):
    """Runs out of memory on batches of more than so many samples; counts what it trains."""

    def __init__(self, capacity, fill=fill_the_machine):
        super().__init__()
        self.fill = fill
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
        self.capacity = capacity
        self.sizes = []

    def forward(self, pixels):
        if len(pixels) > self.capacity:
            self.fill()
        if self.training:
            self.sizes.append(len(pixels))
        return self.layers(pixels / 255)


@pytest.mark.parametrize(("capacity", "expected"), [(32, [32, 32]), (31, [16] * 4), (1, [1] * 64)])
@pytest.mark.parametrize("fill", [fill_a_gpu, fill_the_machine])
def test_out_of_memory_halves_the_batch_and_goes_on(capacity, expected, fill):
    model = Cramped(capacity, fill)
    settings = settings_of(optimizer={"_name": "adam_weight_decay", "end_learning_rate": 0.0})
    trainer = Trainer(model, settings, epochs=1)
    notes = Notes(model)
    trainer.fit(TRAIN, random_samples(1, seed=2), monitor=notes, on_best=lambda: None)
    assert model.sizes == expected
    assert trainer.batch_size == min(32, 2 ** int(math.log2(capacity)))
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.0)  # the decay has come to its end


def test_out_of_memory_with_one_sample_is_an_error():
    trainer = Trainer(Cramped(0), settings_of(), epochs=1)
    with pytest.raises(TrainingError, match="out of memory with one sample in a batch: the model is too large"):
        trainer.fit(TRAIN, VALIDATION, monitor=Notes(nn.Linear(1, 1)), on_best=lambda: None)


def test_an_evaluation_that_does_not_fit_goes_on_in_smaller_batches_and_leaves_those_of_training():
    model = Cramped(40)
    trainer = Trainer(model, settings_of(), epochs=1)
    trainer.fit(TRAIN, random_samples(100, seed=2), monitor=Notes(model), on_best=lambda: None)
    assert model.sizes == [32, 32]
    assert trainer.batch_size == 32


def test_other_errors_are_not_taken_for_out_of_memory():
    trainer = Trainer(nn.Linear(3, 4), settings_of(), epochs=1)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        trainer.fit(TRAIN, VALIDATION, monitor=Notes(nn.Linear(1, 1)), on_best=lambda: None)


def test_a_last_batch_of_one_joins_the_one_before():
    """Batch normalisation cannot train on one sample."""
    model = Cramped(64)
    Trainer(model, settings_of(), epochs=1).fit(
        random_samples(33, seed=1), VALIDATION, monitor=Notes(model), on_best=lambda: None
    )
    assert model.sizes == [33]


class Normalised(Cramped):
    """As a text classifier with `use_batchnorm`."""

    def __init__(self, capacity):
        super().__init__(capacity)
        self.layers.append(nn.BatchNorm1d(4))


@pytest.mark.parametrize(("batch_size", "capacity", "expected"), [(2, 64, [2] * 4), (32, 2, [2] * 4), (3, 2, [2] * 4)])
def test_batch_normalisation_of_samples_trains_on_two_or_more(batch_size, capacity, expected):
    model = Normalised(capacity)
    trainer = Trainer(model, settings_of(), epochs=1, batch_size=batch_size)
    trainer.fit(random_samples(8, seed=1), random_samples(1, seed=2), monitor=Notes(model), on_best=lambda: None)
    assert model.sizes == expected


def test_batch_normalisation_of_samples_and_a_batch_of_one():
    with pytest.raises(TrainingError, match=r"^batch size is 1, but batch normalisation needs 2 samples or more$"):
        Trainer(Normalised(64), settings_of(), batch_size=1)


def test_out_of_memory_with_the_two_samples_of_batch_normalisation_is_an_error():
    model = Normalised(1)
    trainer = Trainer(model, settings_of(), epochs=1)
    with pytest.raises(TrainingError, match="out of memory with 2 samples in a batch: the model is too large"):
        trainer.fit(TRAIN, VALIDATION, monitor=Notes(model), on_best=lambda: None)


def test_the_seed_decides_the_result(weights):
    settings = settings_of(trainable(), augment="true", dropout=0.5)
    first, second = (fit(settings, weights, epochs=2, seed=3)[1].states[-1] for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_regression_is_rated_by_its_loss(weights, n_outputs):
    def regression(samples):
        numbers = samples.targets.float()
        return Samples(samples.inputs, numbers if n_outputs == 1 else torch.stack([numbers, -numbers], dim=1))

    train, validation = regression(TRAIN), regression(VALIDATION)
    trainer, notes, best = fit(
        settings_of(), weights, n_outputs=n_outputs, train=train, validation=validation, objective="regression"
    )
    losses = [epoch["val_loss"] for epoch in notes.epochs]
    assert set(notes.epochs[0]) == {"train_loss", "val_loss"}
    assert best.loss == min(losses)
    assert math.isnan(best.accuracy)
    with torch.no_grad():
        outputs = trainer.model(validation.inputs.float())
    by_hand = ((outputs - validation.targets.view(outputs.shape)) ** 2).mean().item()
    assert evaluate(trainer.model, validation, "regression").loss == pytest.approx(by_hand, rel=1e-5)
