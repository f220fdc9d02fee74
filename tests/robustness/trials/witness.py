"""A trial that writes down which parameters it really had, beside the score that follows from them.

Arguments, all optional, as NAME=NUMBER:
    delay    the longest wait before it asks for its parameters, in seconds; drawn anew in every trial
    dying    the share of trials that die before they ask
    seconds  how long it trains
    plain    the share of trials that report plain numbers and never heard of us
    parent   1: it ends with its parent, as our own trials do
    broken   1: its weights are not finite from the first epoch on, and it does not care

``true_parameters.jsonl`` in the folder ``WITNESS_FOLDER`` gets one line per trial, before it reports anything.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

import nni

N_EPOCHS = 4


def score_of(parameters: dict[str, float]) -> float:
    """Different for every configuration, so that a wrong pair shows; never so small that the assessor calls it slow."""
    return round(1 + parameters["x"] + parameters["y"] / 1000, 6)


def main() -> None:
    options = {"delay": 0.0, "dying": 0.0, "seconds": 0.0, "plain": 0.0, "parent": 0.0, "broken": 0.0}
    options |= {name: float(value) for name, value in (word.split("=") for word in sys.argv[1:])}
    if options["parent"]:
        from nni_dream.automl.parent import end_with_parent

        end_with_parent()
    dice = random.Random()  # of this trial alone: what a search must survive need not be the same every time
    time.sleep(dice.uniform(0, options["delay"]))
    if dice.random() < options["dying"]:
        sys.exit(3)
    parameters = nni.get_next_parameter()
    if options["broken"]:
        train_on_with_broken_weights(parameters, options["seconds"])
    score = score_of(parameters)
    line = json.dumps({"job": os.environ["NNI_TRIAL_JOB_ID"], "parameters": parameters, "score": score}) + "\n"
    with Path(os.environ["WITNESS_FOLDER"], "true_parameters.jsonl").open("a") as file:
        file.write(line)
    report = report_plain if dice.random() < options["plain"] else report_feedback
    report(parameters, score, options["seconds"] / N_EPOCHS)


def train_on_with_broken_weights(parameters: dict[str, float], seconds: float) -> None:
    from nni_dream.feedback import EpochFeedback, TrialFeedback, epoch_metric
    from nni_dream.reporting import TrialReporter

    epoch = EpochFeedback(epoch=0, val_score=0.0, n_nonfinite_weights=1)
    TrialReporter().report_intermediate(epoch_metric(TrialFeedback(parameters=parameters, epochs=(epoch,)), 0.0))
    time.sleep(seconds)


def report_plain(_: dict[str, float], score: float, pause_seconds: float) -> None:
    for index in range(N_EPOCHS):
        time.sleep(pause_seconds)
        nni.report_intermediate_result(score * (index + 1) / N_EPOCHS)
    nni.report_final_result(score)


def report_feedback(parameters: dict[str, float], score: float, pause_seconds: float) -> None:
    from nni_dream.feedback import EpochFeedback, TrialFeedback, epoch_metric, final_metric
    from nni_dream.reporting import TrialReporter

    reporter = TrialReporter()
    epochs = []
    for index in range(N_EPOCHS):
        time.sleep(pause_seconds)
        value = score * (index + 1) / N_EPOCHS
        numbers = {"gradient_ratio": 1.0, "dead_unit_share": 0.1, "weight_norm": 1.0, "n_layers": 2}
        epochs.append(EpochFeedback(epoch=index, val_score=value, **numbers))
        feedback = TrialFeedback(parameters=parameters, planned_epochs=N_EPOCHS, epochs=(epochs[-1],))
        reporter.report_intermediate(epoch_metric(feedback, value))
    whole = TrialFeedback(parameters=parameters, planned_epochs=N_EPOCHS, epochs=tuple(epochs))
    reporter.report_final(final_metric(whole, score, epochs[-1]))


if __name__ == "__main__":
    main()
