"""A small space, and trainings on it whose scores follow a rule."""

from nni_dream.feedback import EpochFeedback, TrialFeedback, final_metric
from nni_dream.priority_building.records import BuildSettings

SPACE = {
    "block_type": {
        "_type": "choice",
        "_value": [{"_name": "vanilla", "filters": {"_type": "choice", "_value": [16, 64]}}, {"_name": "resnet"}],
    },
    "learning_rate": {"_type": "choice", "_value": [0.1, 0.01, 0.001]},
}


def settings(**changes):
    given = {
        "data": "toy",
        "trial_command": "python3 toy.py",
        "search_space": SPACE,
        "optimize_mode": "maximize",
        "seed": 0,
        "n_models": 4,
    }
    return BuildSettings(**{**given, **changes})


def score_of(configuration):
    rates = {0.1: 0.2, 0.01: 0.5, 0.001: 0.4}
    return rates[configuration["learning_rate"]] + (0.3 if configuration["block_type"]["_name"] == "resnet" else 0.0)


def metric_of(configuration, score=None):
    """What a healthy trial sends at its end; it improves all the time."""
    best = score_of(configuration) if score is None else score
    healthy = {"gradient_ratio": 1.0, "dead_unit_share": 0.0, "weight_norm": 1.0, "n_layers": 3}
    epochs = tuple(EpochFeedback(epoch=i, val_score=best * (i + 1) / 4, **healthy) for i in range(4))
    return final_metric(TrialFeedback(parameters=configuration, epochs=epochs), best, None)
