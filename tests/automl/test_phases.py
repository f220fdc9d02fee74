"""Fine-tuning as a table: what is frozen when, with which optimiser and learning rate."""

import pytest

from nni_dream.automl.phases import plan_phases
from nni_dream.automl.task_settings import read_settings

SGD = {"_name": "sgd", "momentum": 0.9}


def plan(pretrained, n_epochs=12, learning_rate=0.01):
    settings = read_settings(
        "image_classification",
        {
            "block_type": {"_name": "resnet", "pretrained": pretrained},
            "optimizer": SGD,
            "learning_rate": learning_rate,
        },
    )
    return [
        (phase.n_epochs, phase.frozen, phase.optimizer.name, pytest.approx(phase.learning_rate))
        for phase in plan_phases(settings, n_epochs)
    ]


def trainable(**two_step):
    return {"_name": "true", "trainable": {"_name": "true", "two_step": {"_name": "true", **two_step}}}


@pytest.mark.parametrize(
    ("pretrained", "n_epochs", "expected"),
    [
        ("false", 12, [(12, "no", "sgd", 0.01)]),
        ({"_name": "true", "trainable": "false"}, 12, [(12, "all", "sgd", 0.01)]),
        ({"_name": "true", "trainable": "true"}, 12, [(12, "no", "sgd", 0.01)]),
        # Two steps: Adam at learning_rate / lr_ratio, then the configured optimiser at learning_rate.
        (trainable(epoch_ratio=0.5, lr_ratio=0.1), 12, [(6, "all", "adam", 0.1), (6, "no", "sgd", 0.01)]),
        (trainable(epoch_ratio=0.1, lr_ratio=1.0), 12, [(1, "all", "adam", 0.01), (11, "no", "sgd", 0.01)]),
        (trainable(epoch_ratio=0.2, lr_ratio=0.01), 200, [(40, "all", "adam", 1.0), (160, "no", "sgd", 0.01)]),
        (trainable(epoch_ratio=0.5, lr_ratio=1.0, freeze="bn"), 4, [(2, "bn", "adam", 0.01), (2, "no", "sgd", 0.01)]),
        (trainable(epoch_ratio=0.5, lr_ratio=1.0, freeze="no"), 4, [(2, "no", "adam", 0.01), (2, "no", "sgd", 0.01)]),
        (trainable(epoch_ratio=0.1, lr_ratio=1.0), 3, [(1, "all", "adam", 0.01), (2, "no", "sgd", 0.01)]),
        (trainable(epoch_ratio=0.5, lr_ratio=1.0), 1, [(1, "no", "sgd", 0.01)]),
        # Three steps, all with Adam, whatever else is configured.
        (
            trainable(three_step=True, freeze="bn", lr_ratio=0.01, epoch_ratio=0.5),
            12,
            [(2, "all", "adam", 0.1), (4, "no", "adam", 0.01), (6, "no", "adam", 0.001)],
        ),
        (
            trainable(three_step=True),
            16,
            [(3, "all", "adam", 0.1), (5, "no", "adam", 0.01), (8, "no", "adam", 0.001)],
        ),
        (trainable(three_step=True), 2, [(1, "all", "adam", 0.1), (1, "no", "adam", 0.01)]),
        (trainable(three_step=True), 1, [(1, "all", "adam", 0.1)]),
    ],
)
def test_plan_phases(pretrained, n_epochs, expected):
    assert plan(pretrained, n_epochs) == expected


@pytest.mark.parametrize("n_epochs", range(1, 40))
@pytest.mark.parametrize("pretrained", [trainable(epoch_ratio=0.3), trainable(three_step=True), "false"])
def test_phases_have_all_epochs_and_none_is_empty(pretrained, n_epochs):
    numbers = [n for n, *_ in plan(pretrained, n_epochs)]
    assert sum(numbers) == n_epochs
    assert min(numbers) >= 1


@pytest.mark.parametrize("block", ["vanilla", {"_name": "vanilla"}])
def test_a_plain_network_has_one_phase(block):
    settings = read_settings("image_classification", {"block_type": block})
    assert len(plan_phases(settings, 5)) == 1
    assert len(plan_phases(read_settings("text_classification", {}), 5)) == 1
