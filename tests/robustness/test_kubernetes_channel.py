"""The older channel (Kubernetes, OpenPAI, AML): NNI's own writer, and on the other end a reader as strict as NNI's.

There a trial prints each metric as ``NNISDK_MEb'...'``; the runner beside it splits its output into lines and sends
each to the manager, which takes what stands between the first quote and the next.  1,000,000 characters are too many.
"""

from __future__ import annotations

import json
import re

import nni
import pytest
from dispatcher import Manager
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nni.runtime import env_vars, trial_command_channel
from nni.runtime.trial_command_channel import set_default_trial_command_channel
from nni.runtime.trial_command_channel.local_legacy import LocalLegacyTrialCommandChannel

from nni_dream.feedback import FEEDBACK_KEY, EpochFeedback, TrialFeedback, epoch_metric, final_metric, parse_metric
from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.reporting import TrialReporter
from nni_dream.tuner import DreamTuner

METRIC_PATTERN = re.compile(r"NNISDK_MEb'(?P<metric>.*?)'")  # of NNI's manager: without greed
MAX_CHARACTERS = 1_000_000
MAX_EPOCH_CHARACTERS = 20_000  # ours: an epoch stays far below

AWKWARD = {
    "activation": "it's",
    "name'": ["'", {"a'b": "''"}],
    "text": "naïve - 模型 - \u2028 - \x85 - \U0001f600 - '\"\\'",
    "lines": "one\ntwo\r\n'three'",
    "escape": "\\u0027 \\' \\\\' \\n",
    "marker": "NNISDK_MEb'{}'",
}


def received(output):
    """What the manager makes of a trial's output; fails where NNI's own reader would lose or cut something."""
    metrics = []
    for line in output.splitlines():  # at every separator that Unicode knows, as the runner does
        if not line.startswith("NNISDK_ME"):
            continue
        assert line.isascii()
        found = METRIC_PATTERN.match(line)
        assert found is not None, f"not a metric: {line[:80]}"
        assert found.end() == len(line), f"cut at a quote: {found['metric'][-80:]}"
        assert len(found["metric"]) < MAX_CHARACTERS
        message = strict_json(found["metric"])
        metrics.append(message | {"value": strict_json(message["value"]), "length": len(found["metric"])})
    return metrics


def strict_json(text):
    def refuse(word):
        pytest.fail(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def trial(monkeypatch, tmp_path, capsys):
    """Returns a function that runs a trial on the channel with given parameters, and returns what the manager got."""
    environment = env_vars.trial_env_vars._replace(
        NNI_PLATFORM="kubeflow",
        NNI_TRIAL_JOB_ID="abcde",
        NNI_SYS_DIR=str(tmp_path),
        NNI_OUTPUT_DIR=str(tmp_path / "output"),
        REUSE_MODE="false",
        MULTI_PHASE="false",
    )
    module = "nni.runtime.trial_command_channel.local_legacy.trial_env_vars"
    for name in (module, "nni.runtime.env_vars.trial_env_vars", "nni.trial.trial_env_vars"):
        monkeypatch.setattr(name, environment)

    def run(parameters, report):
        (tmp_path / "parameter.cfg").write_text(nni.dump({"parameter_id": 0, "parameters": parameters}))
        monkeypatch.setattr("nni.trial._params", None)
        monkeypatch.setattr("nni.trial._intermediate_seq", 0)
        monkeypatch.setattr(trial_command_channel, "_channel", None)
        set_default_trial_command_channel(LocalLegacyTrialCommandChannel())
        nni.get_next_parameter()
        capsys.readouterr()
        report()
        return received(capsys.readouterr().out)

    return run


# --- the reader itself: what it must not let through


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ('NNISDK_MEb\'{"value": "it\'s"}\'', "cut at a quote"),
        ('NNISDK_MEb\'{"value": \n"1"}\'', "not a metric"),
        ('NNISDK_MEb\'{"value": "NaN"}\'', "NaN is not JSON"),
        (f"NNISDK_MEb'\"{'x' * MAX_CHARACTERS}\"'", "assert"),
        ('NNISDK_MEb\'{"value": "\\"ä\\""}\'', "isascii"),
    ],
    ids=["quote", "newline", "nan", "long", "non-ascii"],
)
def test_the_reader_refuses(output, words):
    with pytest.raises((AssertionError, pytest.fail.Exception), match=words):
        received(output)


def test_a_metric_of_others_with_a_quote_is_cut(trial):
    """NNI's own defect, which the escapes below are for."""
    with pytest.raises(AssertionError, match="cut at a quote"):
        trial({}, lambda: nni.report_final_result({"default": 0.5, "name": "it's"}))


# --- our messages


def test_awkward_parameters_survive(trial):
    feedback = TrialFeedback(parameters=AWKWARD, planned_epochs=1, epochs=(EpochFeedback(epoch=0, val_score=0.5),))

    def report():
        reporter = TrialReporter()
        reporter.report_intermediate(epoch_metric(feedback, 0.5))
        reporter.report_final(final_metric(feedback, 0.5, feedback.epochs[0]))

    epoch, final = trial(AWKWARD, report)
    assert (epoch["type"], epoch["sequence"]) == ("PERIODICAL", 0)
    assert final["type"] == "FINAL"
    for message in (epoch, final):
        assert message["value"]["default"] == 0.5
        assert parse_metric(message["value"]) == feedback


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(), st.recursive(st.text() | st.booleans() | st.none(), st.lists, max_leaves=5)))
def test_any_text_survives_in_our_message(parameters):
    feedback = TrialFeedback(parameters=parameters)
    text = final_metric(feedback, 0.5, None)[FEEDBACK_KEY]
    assert "'" not in text
    assert text.isascii()
    assert len(text.splitlines()) == 1
    assert parse_metric({FEEDBACK_KEY: text}) == feedback


def test_the_search_learns_from_a_trial_on_this_channel(trial, log_folder, fresh_dispatcher):
    """Parameters with a quote all the way: tuner, trial, channel, dispatcher, journal."""
    manager = Manager(DreamTuner(seed=1))
    manager.initialize({"it's": {"_type": "choice", "_value": ["don't", "won't"]}})
    (record,) = manager.request(1)
    feedback = TrialFeedback(parameters=record["parameters"], epochs=(EpochFeedback(epoch=0, val_score=0.5),))
    (final,) = trial(
        record["parameters"],
        lambda: TrialReporter().report_final(final_metric(feedback, 0.5, feedback.epochs[0])),
    )
    manager.final("abcde", final["parameter_id"], final["value"])
    (result,) = [event for event in read_journal(log_folder / JOURNAL_NAME) if event["event"] == "result"]
    assert result["parameters"] == record["parameters"]
    assert result["score"] == 0.5


# --- size, with numbers that a real model gives


def train(n_layers):
    """Two epochs of a deep model whose layers have names with a quote, as long as a message lets them be."""
    torch = pytest.importorskip("torch", reason="the monitor needs torch")
    from nni_dream.monitor import FeedbackMonitor

    torch.manual_seed(1)
    model = torch.nn.Sequential()
    for index in range(n_layers):
        model.add_module(f"{'block' * 10}'{index}", torch.nn.Linear(3, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = FeedbackMonitor(model, optimizer, planned_epochs=2)
    for epoch in range(2):
        optimizer.zero_grad()
        loss = model(torch.ones(2, 3)).square().mean()
        loss.backward()
        optimizer.step()
        monitor.end_epoch(train_loss=loss.detach(), val_loss=loss.detach(), val_score=0.1 * epoch)
    monitor.finish()


@pytest.mark.parametrize("n_layers", [1, 160, 400])
def test_the_monitor_of_a_deep_model_stays_small(trial, n_layers):
    messages = trial(AWKWARD, lambda: train(n_layers))
    assert [message["type"] for message in messages] == ["PERIODICAL", "PERIODICAL", "FINAL"]
    first = parse_metric(messages[0]["value"])
    assert first.parameters == AWKWARD
    assert len(first.epochs[0].layers.names) == min(n_layers, 160)
    assert all("'" in name for name in first.epochs[0].layers.names)
    assert max(message["length"] for message in messages) < MAX_EPOCH_CHARACTERS


@pytest.mark.parametrize("n_epochs", [500, 5000])
def test_a_long_final_result_stays_below_the_limit(trial, n_epochs):
    digits = -1.234e-100  # every number as long as a number gets
    epochs = tuple(
        EpochFeedback(
            epoch=index,
            **dict.fromkeys(
                (
                    *("train_loss", "val_loss", "train_score", "val_score", "learning_rate", "seconds"),
                    *("gradient_norm", "gradient_ratio", "dead_unit_share", "zero_gradient_share"),
                    *("weight_norm", "update_ratio"),
                ),
                digits,
            ),
            **dict.fromkeys(("n_nonfinite_losses", "n_nonfinite_weights", "n_nonfinite_gradients"), 10**9),
            n_layers=400,
        )
        for index in range(n_epochs)
    )
    feedback = TrialFeedback(parameters=AWKWARD, planned_epochs=n_epochs, epochs=epochs)
    (final,) = trial(AWKWARD, lambda: TrialReporter().report_final(final_metric(feedback, 0.5, epochs[0])))
    assert len(parse_metric(final["value"]).epochs) == 500
    assert final["length"] < MAX_CHARACTERS / 2
