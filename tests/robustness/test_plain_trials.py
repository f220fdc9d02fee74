"""Trials that never heard of this package: their condition is what can be known, and the rest is left open."""

import math

import pytest
from dispatcher import Manager

from nni_dream.assessor import DreamAssessor
from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.tuner import DreamTuner

pytestmark = pytest.mark.usefixtures("fresh_dispatcher")

NO_NETWORK = {"lr": {"_type": "loguniform", "_value": [1e-4, 1]}, "batch_size": {"_type": "choice", "_value": [16, 32]}}
NETWORKS = {**NO_NETWORK, "backbone": {"_type": "choice", "_value": ["resnet18", "ResNet50"]}}
OTHERS = {**NO_NETWORK, "model": {"_type": "choice", "_value": ["vgg16", "mobilenet"]}}

FLAT, RISING = [0.5] * 4, [0.1, 0.3, 0.5, 0.6]


@pytest.mark.parametrize("with_assessor", [True, False])
@pytest.mark.parametrize(
    ("space", "epochs", "final", "mode", "expected"),
    [
        pytest.param(NETWORKS, FLAT, 0.5, "maximize", "RA-SC-*-*", id="numbers"),
        pytest.param(NETWORKS, RISING, 0.6, "maximize", "RA-NC-*-*", id="rising numbers"),
        pytest.param(OTHERS, FLAT, 0.5, "maximize", "OA-SC-*-*", id="a network that we do not know"),
        pytest.param(NO_NETWORK, FLAT, 0.5, "maximize", "*-SC-*-*", id="a network that nobody names"),
        pytest.param(NETWORKS, [], 0.5, "maximize", "RA-*-*-*", id="a final result alone"),
        pytest.param(NO_NETWORK, [], 0.5, "maximize", "*-*-*-*", id="nothing but a score"),
        pytest.param(NO_NETWORK, [], {"default": 0.5, "f1": 0.4}, "maximize", "*-*-*-*", id="a dict of scores"),
        pytest.param(
            NETWORKS, [{"default": 0.5, "loss": 1.0}] * 4, {"default": 0.5}, "maximize", "RA-SC-*-*", id="dicts"
        ),
        pytest.param(NETWORKS, [1.0, 0.9, 0.8, 0.7], 0.7, "minimize", "RA-NC-*-*", id="a falling loss"),
        pytest.param(NETWORKS, [1.0, 0.999, 0.998, 0.998], 0.998, "minimize", "RA-SC-*-*", id="a loss that stands"),
        pytest.param(NETWORKS, [0.5, math.nan], 0.5, "maximize", "RA-SC-*-*", id="not a number"),
        pytest.param(NETWORKS, [0.5], 0.5, "maximize", "RA-NC-*-*", id="too short to be slow"),
    ],
)
def test_the_condition_is_what_can_be_known(log_folder, space, epochs, final, mode, expected, with_assessor):
    assessor = DreamAssessor(optimize_mode=mode) if with_assessor else None
    manager = Manager(DreamTuner(seed=0, optimize_mode=mode), assessor)
    manager.initialize(space)
    (record,) = manager.request()
    for index, value in enumerate(epochs):
        manager.intermediate("job", record["parameter_id"], index, value)
    manager.final("job", record["parameter_id"], final)
    manager.end("job", record["parameter_id"])
    manager.request()
    repair = [event for event in read_journal(log_folder / JOURNAL_NAME) if event["event"] == "suggestion"][1]
    if not with_assessor and epochs:  # NNI shows a tuner no intermediate results
        architecture = expected.split("-", maxsplit=1)[0]
        expected = f"{architecture}-*-*-*"
    assert repair["condition"] == expected
    assert repair["kind"] == "action"
