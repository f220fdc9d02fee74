"""A trial without a model: its epochs follow from its parameters, so a search over it takes seconds.

``learning_rate`` 1.0 makes the weights non-finite in the second epoch; ``width`` and ``learning_rate`` set the score.
``--pause SECONDS`` makes each epoch slow, for the tests that interrupt it; with ``--quick-from SCORE`` a trial that
will reach the score takes half a second an epoch.
"""

from __future__ import annotations

import argparse
import math
import threading

import nni

from nni_dream.feedback import EpochFeedback, TrialFeedback, epoch_metric, final_metric
from nni_dream.reporting import TrialReporter

N_EPOCHS = 4


def main() -> None:
    parameters = nni.get_next_parameter()
    parser = argparse.ArgumentParser()
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--quick-from", type=float, default=math.inf)
    options = parser.parse_args()
    is_broken = parameters["learning_rate"] == 1.0
    ceiling = 0.5 + 0.1 * parameters["width"] - abs(parameters["learning_rate"] - 0.01)
    pause_seconds = 0.5 if ceiling >= options.quick_from else options.pause
    reporter = TrialReporter()
    epochs = []
    for index in range(N_EPOCHS):
        threading.Event().wait(pause_seconds)
        score = ceiling * (index + 1) / N_EPOCHS
        epoch = EpochFeedback(
            epoch=index,
            val_score=score,
            gradient_ratio=1.0,
            dead_unit_share=0.1,
            weight_norm=1.0,
            n_layers=2,
            n_nonfinite_weights=7 if is_broken and index >= 1 else 0,
        )
        epochs.append(epoch)
        feedback = TrialFeedback(parameters=parameters, planned_epochs=N_EPOCHS, epochs=(epoch,))
        reporter.report_intermediate(epoch_metric(feedback, score))
    if is_broken:
        threading.Event().wait(60)  # for the assessor's stop, which takes the manager a second or two
    whole = TrialFeedback(parameters=parameters, planned_epochs=N_EPOCHS, epochs=tuple(epochs))
    reporter.report_final(final_metric(whole, ceiling, epochs[-1]))


if __name__ == "__main__":
    main()
