"""What the callbacks have in common, without a framework."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from nni_dream.integrations.fits import MONITOR_ARGUMENTS, WatchedFits
from nni_dream.integrations.metric_names import MetricNames, MissingMetricError

USUAL = {"train_loss": "loss", "val_loss": "val_loss"}


def make_names(monitor="val_acc", mode="max", **stated):
    return MetricNames(monitor, mode, stated=stated, usual=USUAL, hint="; log it")


def make_fits(names=None, *, n_fits=1, planned_epochs=None, **monitor_arguments):
    names = make_names() if names is None else names
    return WatchedFits(names, n_fits=n_fits, planned_epochs=planned_epochs, monitor_arguments=monitor_arguments)


def make_trial():
    model = nn.Linear(2, 2)
    return model, [torch.optim.SGD(model.parameters(), lr=0.1)]


@pytest.mark.parametrize(
    ("names", "metrics", "expected"),
    [
        (make_names(), {"val_acc": 0.5}, {"val_score": 0.5}),
        (make_names(), {"val_acc": 0.5, "loss": 1, "other": 2}, {"val_score": 0.5, "train_loss": 1}),
        (make_names(val_loss="nll"), {"val_acc": 0.5, "nll": 3, "val_loss": 4}, {"val_score": 0.5, "val_loss": 3}),
        (make_names("val_loss", "min"), {"val_loss": 3}, {"val_loss": 3}),  # once
        (make_names("nll", "min", val_loss="nll"), {"nll": 3}, {"val_loss": 3}),
        (make_names("nll", "min"), {"nll": 3}, {"val_score": 3}),
        (make_names("val_loss", "max"), {"val_loss": 3}, {"val_loss": 3, "val_score": 3}),
    ],
)
def test_which_metric_is_which_number(names, metrics, expected):
    assert names.numbers(metrics) == expected


@pytest.mark.parametrize(
    ("names", "metrics", "words"),
    [
        (make_names(), {"loss": 1, "acc": 2}, "monitor is 'val_acc', but the metrics are acc, loss; log it"),
        (make_names(), {}, "monitor is 'val_acc', but the metrics are none at all; log it"),
        (make_names(train_loss="nll"), {"val_acc": 1, "loss": 2}, "train_loss is 'nll', but the metrics are loss, val"),
    ],
)
def test_a_named_metric_that_is_missing(names, metrics, words):
    with pytest.raises(MissingMetricError, match=words):
        names.numbers(metrics)


def test_the_arguments_that_are_passed_on_are_known_to_the_monitor(channel):
    fits = make_fits(parameters={"a": 1}, architecture="OA", samples_per_epoch=1, layer_order=["weight"], reporter=None)
    fits.begin_fit(*make_trial(), planned_epochs=3)
    fits.end_epoch({"val_acc": 0.5})
    fits.end_fit()
    assert fits.feedback.parameters == {"a": 1}
    assert len(MONITOR_ARGUMENTS) == 5


@pytest.mark.parametrize(("n_fits", "stated", "expected"), [(1, None, 3), (1, 7, 7), (2, None, None), (2, 7, 7)])
def test_planned_epochs_of_one_fit_are_the_trainers(channel, n_fits, stated, expected):
    fits = make_fits(n_fits=n_fits, planned_epochs=stated)
    fits.begin_fit(*make_trial(), planned_epochs=3)
    fits.finish()
    assert fits.feedback.planned_epochs == expected


def test_finish_is_the_end_and_comes_once(channel):
    fits = make_fits()
    fits.finish()  # nothing has begun
    fits.begin_fit(*make_trial(), planned_epochs=None)
    fits.end_epoch({"val_acc": 0.5})
    fits.finish()
    fits.finish()
    fits.end_fit()
    fits.end_epoch({"val_acc": 0.6})
    assert channel.defaults == [("PERIODICAL", 0.5), ("FINAL", 0.5)]


DYING_TRIAL = """
import torch
from test_fits import make_fits, make_trial
from nni_dream.reporting import TrialReporter

class Printer(TrialReporter):
    def report_intermediate(self, metric):
        print("intermediate", metric["default"])

    def report_final(self, metric):
        print("final", metric["default"])

def train():
    fits = make_fits(reporter=Printer())
    fits.begin_fit(*make_trial(), planned_epochs=None)
    fits.end_epoch({"val_acc": 0.5})
    raise KeyboardInterrupt

train()
"""


def test_a_trial_that_dies_in_a_fit_sends_its_result_as_it_ends():
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    process = subprocess.run(
        [sys.executable, "-c", DYING_TRIAL], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert process.returncode != 0
    assert process.stdout.splitlines() == ["intermediate 0.5", "final 0.5"]
