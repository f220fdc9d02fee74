"""The search space of the digits trial: the trial reads it, and every value in it makes a difference."""

import itertools
import json
import random
from pathlib import Path

import pytest
import torch
from nni.common.hpo_utils import validate_search_space

from nni_dream.automl.augmentation import augment
from nni_dream.automl.digits import IMAGE_SHAPE, N_CLASSES, load_digits_split
from nni_dream.automl.digits_parameters import Augmentation, read_digits_parameters
from nni_dream.automl.models.digits import build_digits_model
from nni_dream.automl.optimizers import build_optimizer, build_schedule

SPACE = json.loads(Path(__file__, "../../../experiment_configs/spaces/digits.json").resolve().read_text())
BASE = {"block_type": {"_name": "resnet"}}  # its features are larger than one pixel: the reduction matters
N_STEPS = 10


def is_nested(node):
    return isinstance(node["_value"][0], dict)


def cases():
    """Yield (name, the configurations that differ in this parameter only)."""
    for name, node in SPACE.items():
        values = [{"_name": value["_name"]} for value in node["_value"]] if is_nested(node) else node["_value"]
        yield name, [{**BASE, name: value} for value in values]
        for choice in node["_value"] if is_nested(node) else ():
            for inner, inner_node in choice.items():
                if inner != "_name":
                    variants = [{"_name": choice["_name"], inner: value} for value in inner_node["_value"]]
                    yield f"{name}.{choice['_name']}.{inner}", [{**BASE, name: variant} for variant in variants]


def observe(configuration):
    """Everything about a training that its parameters decide, as bytes."""
    parameters = read_digits_parameters(configuration)
    pixels = load_digits_split(normalize=parameters.normalize).train.inputs[:32]
    if isinstance(parameters.augment, Augmentation):
        pixels = augment(pixels, parameters.augment, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = build_digits_model(parameters, N_CLASSES, IMAGE_SHAPE)
    logits = model(pixels)
    optimizer = build_optimizer(model, parameters)
    schedule = build_schedule(optimizer, parameters, N_STEPS)
    settings = (type(optimizer).__name__, sorted(optimizer.defaults.items()))
    rates = [schedule.lr_lambdas[0](step) * parameters.learning_rate for step in range(N_STEPS + 1)]
    return logits.detach().numpy().tobytes(), str(settings), str(rates)


@pytest.mark.parametrize(("name", "configurations"), [pytest.param(*case, id=case[0]) for case in cases()])
def test_every_value_makes_a_difference(name, configurations):
    assert len(configurations) >= 2
    observations = [observe(configuration) for configuration in configurations]
    for (first, seen_first), (second, seen_second) in itertools.combinations(
        zip(configurations, observations, strict=True), 2
    ):
        assert seen_first != seen_second, f"{name}: {first} and {second} are the same training"


def test_nni_accepts_the_space():
    assert validate_search_space(SPACE, raise_exception=True)


def draw(node, rng):
    if isinstance(node, dict) and "_type" in node:
        return draw(rng.choice(node["_value"]), rng)
    return {name: draw(inner, rng) for name, inner in node.items()} if isinstance(node, dict) else node


def test_the_trial_reads_what_nni_draws_and_writes_it_back():
    rng = random.Random(0)
    for _ in range(200):
        drawn = draw(SPACE, rng)
        assert read_digits_parameters(drawn).to_nested() == drawn
