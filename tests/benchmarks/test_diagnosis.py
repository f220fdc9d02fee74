"""The evidence that diagnoses are right: the truth about a run, how it is counted, how thresholds are tuned."""

import math

import diagnosis
import pytest
import torch
from diagnosis_scoring import Case, Truth, find_truth, is_for_tuning, judge, score, tune
from planted_faults import (
    NETWORKS,
    OPTIMIZERS,
    PLANTS,
    Evidence,
    Family,
    Moment,
    Plant,
    Probe,
    Run,
    build,
    probe,
    train,
)

from nni_dream.config import Thresholds
from nni_dream.feedback import EpochFeedback, TrialFeedback
from nni_dream.search.conditions import Condition, Convergence, Gradient, Weight

HEALTHY, SLOW, VANISHING, EXPLODING, DYING = (
    next(plant for plant in PLANTS if plant.name.startswith(name))
    for name in ("healthy", "slow", "vanishing", "exploding", "dying")
)
EVEN = Probe(error_growth=1.0, silent_share=0.0, has_silent_layer=False)
SHRINKING = Probe(error_growth=0.01, silent_share=0.0, has_silent_layer=False)
GROWING = Probe(error_growth=50.0, silent_share=0.0, has_silent_layer=False)
SILENT = Probe(error_growth=1.0, silent_share=0.9, has_silent_layer=False)


def moment(accuracy=0.9, loss=0.3, do_weights_fit=True, n_nonfinite_steps=0):
    return Moment(loss, accuracy, do_weights_fit, n_nonfinite_steps)


def run(plant=HEALTHY, state=EVEN, *, end=None, seed=1, ratio=1.0, gain=0.05):
    """A run whose monitor told the same gradient ratio in each epoch, and scores that grew by the same gain."""
    epochs = tuple(
        EpochFeedback(epoch=i, val_score=0.1 + gain * i, gradient_ratio=ratio, dead_unit_share=0.0, n_layers=4)
        for i in range(8)
    )
    evidence = Evidence(state, state, (end or moment(),))
    return Run(Family(NETWORKS[0], "sgd", seed), plant, evidence, TrialFeedback(epochs=epochs))


def case(gradient, **told):
    return Case(run(**told), Truth(Convergence.NORMAL, gradient, Weight.NORMAL), 1.0)


class TestTruth:
    @pytest.mark.parametrize(
        ("plant", "state", "share", "expected"),
        [
            (HEALTHY, EVEN, 1.0, Gradient.NORMAL),
            (HEALTHY, SHRINKING, 1.0, None),  # not what was planted
            (VANISHING, SHRINKING, 0.1, Gradient.VANISHING),
            (VANISHING, EVEN, 0.1, None),  # it did harm in another way
            (VANISHING, SHRINKING, 0.9, None),  # it did no harm
            (EXPLODING, GROWING, 0.1, Gradient.EXPLODING),
            (EXPLODING, EVEN, 0.1, None),
            (DYING, SILENT, 0.1, Gradient.DYING),
            (DYING, EVEN, 0.1, None),
            (DYING, SILENT, None, None),  # its healthy run is not healthy
        ],
    )
    def test_a_plant_counts_where_the_evidence_bears_it_out(self, plant, state, share, expected):
        assert find_truth(run(plant, state), share).gradient is expected

    def test_a_step_without_finite_gradients_has_exploded(self):
        overflow = next(plant for plant in PLANTS if plant.name.startswith("overflow"))
        lost = run(overflow, end=moment(0.1, n_nonfinite_steps=2))
        assert find_truth(lost, 0.0).gradient is Gradient.EXPLODING

    @pytest.mark.parametrize(
        ("share", "expected"),
        [(0.1, Convergence.SLOW), (0.3, None), (0.9, Convergence.NORMAL), (None, None)],
    )
    def test_slow_is_what_learned_little(self, share, expected):
        assert find_truth(run(SLOW), share).convergence is expected

    def test_a_lost_loss_is_slow_whatever_was_learned(self):
        assert find_truth(run(end=moment(loss=math.nan)), 1.0).convergence is Convergence.SLOW

    def test_weights_explode_where_their_norm_does_not_fit(self):
        assert find_truth(run(end=moment(do_weights_fit=False)), 1.0).weight is Weight.EXPLODING

    def test_a_run_is_judged_by_the_healthy_one_of_its_family(self):
        runs = [run(), run(SLOW, end=moment(0.18)), run(seed=2, end=moment(0.5)), run(SLOW, seed=2)]
        slow = judge(runs)[1]
        assert slow.learned_share == pytest.approx(0.1)
        assert slow.truth == Truth(Convergence.SLOW, Gradient.NORMAL, Weight.NORMAL)
        assert judge(runs)[3].learned_share is None, "the other family's healthy run is below 80 %"


def test_precision_and_recall_are_of_the_decided_runs():
    pairs = [
        (Truth(None, truth, None), Condition(gradient=found))
        for truth, found in (
            (Gradient.DYING, Gradient.DYING),
            (Gradient.DYING, Gradient.DYING),
            (Gradient.DYING, Gradient.VANISHING),
            (Gradient.NORMAL, Gradient.DYING),
            (Gradient.NORMAL, Gradient.DYING),
            (None, Gradient.DYING),
        )
    ]
    counts = score(Gradient.DYING, pairs)
    assert (counts.n_true, counts.n_diagnosed, counts.n_right) == (3, 4, 2)
    assert (counts.precision, counts.recall) == (2 / 4, 2 / 3)
    assert score(Gradient.EXPLODING, pairs).precision is None


class TestTuning:
    def test_finds_the_threshold_that_tells_the_runs_apart(self):
        ratios = {0.03: Gradient.VANISHING, 0.2: Gradient.NORMAL, 1.0: Gradient.NORMAL}
        cases = [case(truth, ratio=ratio, seed=2) for ratio, truth in ratios.items()]
        assert 0.03 < tune(cases).vanishing_ratio < 0.2

    def test_changes_nothing_that_gains_nothing(self):
        tuned = tune([case(Gradient.NORMAL, seed=2)])
        assert tuned == Thresholds()

    def test_refuses_the_runs_that_are_reported_on(self):
        with pytest.raises(ValueError, match="1 runs are for reporting, not for tuning"):
            tune([case(Gradient.NORMAL, seed=2), case(Gradient.NORMAL, seed=3)])


class TestDesign:
    def test_at_least_200_runs_in_each_half(self):
        """At the default number of seeds."""
        for half in (True, False):
            own = [family for family in diagnosis.families(6) if is_for_tuning(run(seed=family.seed)) is half]
            assert len(own) * len(PLANTS) >= 200
            assert {family.optimizer for family in own} == set(OPTIMIZERS)
            assert {family.network for family in own} == set(NETWORKS)

    def test_every_fault_of_the_method_is_planted_beside_healthy_twins(self):
        assert {plant.gradient for plant in PLANTS} == set(Gradient)
        assert [plant.is_fault for plant in PLANTS].count(False) == 4

    def test_a_plant_changes_nothing_but_itself(self):
        """The same random numbers: a scale is all that differs."""
        scaled = Plant("scale x 4", Gradient.EXPLODING, scale=4.0)
        torch.manual_seed(0)
        sane = build(NETWORKS[0], HEALTHY)
        torch.manual_seed(0)
        planted = build(NETWORKS[0], scaled)
        assert torch.allclose(4 * sane[1].weight, planted[1].weight)
        assert torch.equal(sane[-1].weight, planted[-1].weight)


def test_the_probe_measures_the_network_and_leaves_it_as_it_is():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2), torch.nn.ReLU())
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(2))
        network[0].bias.copy_(torch.tensor([0.0, -9.0]))  # the second unit is active for no sample
        network[2].weight.copy_(3 * torch.eye(2))
        network[2].bias.copy_(torch.tensor([1.0, 1.0]))
    before = [parameter.clone() for parameter in network.parameters()]
    found = probe(network, torch.tensor([[1.0, 2.0], [2.0, 1.0]]), torch.tensor([0, 1]))
    assert found == Probe(error_growth=pytest.approx(3.0), silent_share=0.25, has_silent_layer=False)
    assert all(map(torch.equal, before, network.parameters()))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_runs_are_told_by_the_real_monitor_and_reported():
    """One small network; what is reported on is the odd seed."""
    families = [Family(NETWORKS[0], "adam", seed) for seed in (0, 1)]
    runs = [train(family, plant) for family in families for plant in (HEALTHY, SLOW, DYING)]
    text = diagnosis.report(runs)
    assert text.startswith("# Are the diagnoses right?\n\n6 trainings of ")
    assert "Everything below is about the 3 runs of odd seeds" in text
    assert "\n| DG | 1 | 1 | 1 | 1.00 | 1.00 |\n" in text
    assert "\n| EG | 0 | 0 | 0 | - | - |\n" in text
