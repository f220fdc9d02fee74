"""The search spaces of real tasks: the paper's actions are there, trials read them, and every value matters."""

import hashlib
import itertools
import random
import re

import pytest
import torch
from nni.common.hpo_utils import validate_search_space
from space_walk import draw, places, read_space

from nni_dream.automl.evaluation import Samples
from nni_dream.automl.models.backbones import build_backbone
from nni_dream.automl.models.image import build_image_model, measure_channels
from nni_dream.automl.models.text import build_text_model, text_length
from nni_dream.automl.phases import plan_phases
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.text_settings import NgramBlock
from nni_dream.automl.training import Trainer
from nni_dream.automl.vocabulary import fit_vocabulary
from nni_dream.automl.weights import VECTORS, WeightsSource, save_own_weights

TASKS = {"image": "image_classification", "text": "text_classification"}
N_CLASSES = 4
IMAGE_SHAPE = (3, 32, 32)
N_SAMPLES = 8  # one step
N_EPOCHS = 2
N_FINE_TUNING_EPOCHS = 16  # enough that every epoch_ratio is another number of them

MODEL_AND_OPTIMISER = {
    "initializer": ["he_uniform", "lecun_uniform", "glorot_uniform"],
    "activation": ["selu", "tanh", "relu"],
    "momentum": [0.0, 0.1, 0.5, 0.9, 0.99],
    "end_learning_rate": [1e-4, 1e-5, 2e-6, 1e-6, 0.0],
    "weight_decay_rate": [0.001, 0.005, 0.01, 0.05, 0.1],
}
FINE_TUNING = {
    "two_step": [True, False],
    "three_step": [True, False],
    "epoch_ratio": [0.1, 0.2, 0.3, 0.4, 0.5],
    "lr_ratio": [1.0, 0.1, 0.01],
    "freeze": ["all", "no", "bn"],
}
PREMISES = {  # of the objects of Table 1
    "initializer": ("block_type", "vanilla"),
    "activation": ("block_type", "vanilla"),
    "momentum": ("optimizer", "sgd"),
    "end_learning_rate": ("optimizer", "adam_weight_decay"),
    "weight_decay_rate": ("optimizer", "adam_weight_decay"),
    "two_step": ("trainable", "true"),
    "three_step": ("two_step", "true"),
    "epoch_ratio": ("two_step", "true"),
    "lr_ratio": ("two_step", "true"),
    "freeze": ("two_step", "true"),
}


def as_actions(table):
    return {(name, str(value).lower()) for name, values in table.items() for value in values}


def actions(space):
    """(object, value) of every action; `filters_0_1` is the object `filters`."""
    return {
        (re.sub(r"(_\d+)+$", "", place.name), str(value).lower()) for place in places(space) for value in place.values
    }


def test_the_expanded_image_space_has_the_36_actions_of_table_1_more():
    added = actions(read_space("image_expanded")) - actions(read_space("image"))
    assert added == as_actions({**MODEL_AND_OPTIMISER, **FINE_TUNING})
    assert len(added) == 36


def test_the_expanded_text_space_has_those_of_them_that_need_no_pretrained_backbone():
    added = actions(read_space("text_expanded")) - actions(read_space("text"))
    assert added == as_actions(MODEL_AND_OPTIMISER)
    assert len(added) == 21


@pytest.mark.parametrize("task", TASKS)
def test_expanding_takes_nothing_away(task):
    assert actions(read_space(task)) < actions(read_space(f"{task}_expanded"))


@pytest.mark.parametrize("task", TASKS)
def test_nested_choices_carry_the_premises(task):
    found = {place.name: place.path[-1] for place in places(read_space(f"{task}_expanded")) if place.name in PREMISES}
    assert found == {name: premise for name, premise in PREMISES.items() if name in found}


@pytest.mark.parametrize("name", ["image", "text", "image_expanded", "text_expanded"])
def test_nni_accepts_the_space(name):
    assert validate_search_space(read_space(name), raise_exception=True)


@pytest.mark.parametrize("task", TASKS)
def test_the_trial_reads_what_nni_draws_and_writes_it_back(task):
    rng = random.Random(0)
    for _ in range(200):
        drawn = draw(read_space(f"{task}_expanded"), rng)
        assert read_settings(TASKS[task], drawn).to_nested() == drawn


@pytest.mark.parametrize("task", TASKS)
def test_the_trial_reads_the_original_space_and_fills_in_what_keras_does(task):
    rng = random.Random(0)
    for _ in range(50):
        read_settings(TASKS[task], draw(read_space(task), rng))
    settings = read_settings("image_classification", {"optimizer": "sgd"})
    assert settings.optimizer.momentum == 0.0
    assert settings.block_type.initializer == "glorot_uniform"
    assert settings.block_type.activation == "relu"


# What has to be beside a parameter for it to count: by the option it stands in.
CONTEXT = {"vanilla": {"num_blocks": 3, "num_layers": 2}}
WIDE_FEATURES = {"vanilla": {"num_blocks": 1, "num_layers": 1}}  # more than one pixel or token is left to reduce


def in_context(task, place, value):
    inside = WIDE_FEATURES if place.name == "reduction_type" else CONTEXT
    beside = {"dense_layers": 3} if task == "text" else {"block_type": {"_name": "vanilla", **inside["vanilla"]}}
    return {**beside, **place.configuration(value, inside)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Other weights than those that a fresh model draws, for every backbone and for words."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    for place in places(read_space("image_expanded")):
        if place.name == "pretrained":
            block = place.path[-1][1]
            for version in versions_of(block):
                settings = read_settings("image_classification", {"block_type": block_of(block, version)})
                backbone = build_backbone(settings.block_type, (3, 16, 16), WeightsSource("tiny"))
                save_own_weights(backbone, folder, scale="tiny", version=settings.block_type.version)
    for name in VECTORS:
        vectors = torch.randn(20, 8)
        lines = [f"word{i} " + " ".join(map(str, vector.tolist())) for i, vector in enumerate(vectors)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return WeightsSource("tiny", folder)


def versions_of(block):
    space = read_space("image_expanded")
    found = [p.values for p in places(space) if p.name == "version" and p.path == (("block_type", block),)]
    return found[0] if found else (None,)


def block_of(block, version):
    return {"_name": block} if version is None else {"_name": block, "version": version}


@pytest.fixture(scope="module")
def images():
    return torch.randint(
        0, 256, (N_SAMPLES, *IMAGE_SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


@pytest.fixture(scope="module")
def texts():
    """More than 20,000 different words, the first of them the most frequent, in texts longer than any tiny length."""
    words = [f"word{i}" for i in range(24_000)]
    return [" ".join(words[:20] + words[i : i + 150]) for i in range(0, len(words), 150)]


def image_training(settings, images, weights):
    torch.manual_seed(0)
    model = build_image_model(settings, N_CLASSES, IMAGE_SHAPE, statistics=measure_channels(images), source=weights)
    return model, Samples(images, torch.arange(len(images)) % N_CLASSES)


def text_training(settings, texts, weights):
    n = settings.block_type.ngrams if isinstance(settings.block_type, NgramBlock) else 1
    vocabulary = fit_vocabulary(texts, max_tokens=settings.max_tokens, n=n)
    torch.manual_seed(0)
    model = build_text_model(settings, N_CLASSES, vocabulary, source=weights)
    ids = vocabulary.encode(texts[:N_SAMPLES], text_length(settings, "tiny"))
    return model, Samples(ids, torch.arange(N_SAMPLES) % N_CLASSES)


class Weights:
    """A monitor that reads every weight after every epoch, which is one step."""

    def __init__(self, model):
        self.model = model
        self.read = hashlib.sha256()

    def end_epoch(self, **_):
        for weight in self.model.state_dict().values():
            self.read.update(str(tuple(weight.shape)).encode() + weight.numpy().tobytes())

    def watch(self, optimizer):
        pass


def train(configuration, images, texts, weights, task):
    """Train a step an epoch; return a hash of all weights after each, so that equal hashes are equal trainings."""
    settings = read_settings(TASKS[task], configuration)
    model, samples = (
        image_training(settings, images, weights) if task == "image" else text_training(settings, texts, weights)
    )
    monitor = Weights(model)
    n_epochs = N_FINE_TUNING_EPOCHS if len(plan_phases(settings, N_FINE_TUNING_EPOCHS)) > 1 else N_EPOCHS
    trainer = Trainer(model, settings, epochs=n_epochs, batch_size=len(samples), patience=None)
    trainer.fit(samples, samples, monitor=monitor, on_best=lambda: None)
    return monitor.read.hexdigest()


CASES = [
    pytest.param(task, place, id=f"{task}-{place}")
    for task in TASKS
    for place in places(read_space(f"{task}_expanded"))
]


@pytest.mark.parametrize(("task", "place"), CASES)
def test_every_value_makes_a_difference(task, place, images, texts, weights):
    assert len(place.values) >= 2
    trainings = [train(in_context(task, place, value), images, texts, weights, task) for value in place.values]
    for (one, seen_one), (other, seen_other) in itertools.combinations(zip(place.values, trainings, strict=True), 2):
        assert seen_one != seen_other, f"{place}: {one} and {other} are the same training"


@pytest.mark.parametrize("task", TASKS)
def test_the_same_values_are_the_same_training(task, images, texts, weights):
    """Or every value would seem to make a difference."""
    configuration = {"augment": "true", "dropout": 0.5} if task == "image" else {"dropout": 0.5}
    first, second = (train(configuration, images, texts, weights, task) for _ in range(2))
    assert first == second
