"""The report's numbers, on cases that can be reckoned by hand."""

import math

import condition_value
import pytest
import ranges
import replay
import search_report
from search_report import Step, curve, effort_until, pair_lines, section, table_lines


def full(*scores, seconds=60.0):
    return [Step(score, seconds) for score in scores]


def test_the_curve_counts_full_trials():
    assert curve(full(0.1, 0.3, None, 0.2), 4) == [0.1, 0.3, 0.3, 0.3]


def test_short_trials_count_by_their_epochs():
    steps = [Step(0.1, 6), Step(0.3, 2, 1 / 3), Step(0.2, 2, 1 / 3), Step(0.4, 2, 1 / 3), Step(0.5, 6)]
    assert curve(steps, 3) == [0.1, 0.4, 0.5]


@pytest.mark.parametrize(
    ("goal", "expected"), [(0.1, (1, 1.0)), (0.3, (2, 2.0)), (0.25, (2, 2.0)), (0.5, (math.inf, math.inf))]
)
def test_effort_until_a_goal(goal, expected):
    assert effort_until(full(0.1, 0.3, 0.2), goal) == expected


RESULTS = {
    "Dream learning": {0: full(0.1, 0.6, 0.7), 1: full(0.1, 0.5, 0.5)},
    "NNI TPE": {0: full(0.1, 0.2, 0.6), 1: full(0.1, 0.1, 0.5)},
    "Dream learning, score only": {0: full(0.1, 0.4, 0.4), 1: full(0.1, 0.4, 0.4)},
    "NNI Random": {0: full(0.1, 0.1, 0.1)},  # its second search has not ended
}


def test_the_table_has_means_and_medians():
    lines = table_lines(RESULTS, 3)
    assert lines[2] == "| Dream learning | 2 | 2 | 2 | 75% |"
    assert lines[3] == "| NNI TPE | 2 | 3 | 3 | 75% |"
    assert lines[5] == "| NNI Random | 1 | not | not | 0% |"


def test_a_goal_that_half_of_the_searches_did_not_reach_is_not_reached():
    results = {
        "NNI TPE": {seed: full(0.1, 0.5) for seed in range(2)},
        "NNI Random": {0: full(0.1, 0.5), 1: full(0.1, 0.1)},
    }
    assert table_lines(results, 2)[3] == "| NNI Random | 2 | not | not | 50% |"


@pytest.mark.parametrize("head", [search_report.HEAD, ranges.HEAD, replay.HEAD])
def test_the_reports_say_so(head):
    assert '"not" where half or more did not get there' in " ".join(head.split())


def test_best_scores_stand_at_the_trials_that_the_searches_have():
    results = {"NNI TPE": {0: full(*[0.1] * 4, 0.3), 1: full(*[0.1] * 5)}}
    assert table_lines(results, 5)[2].startswith("| NNI TPE | 2 | 0.2000 |")


def test_pairs_are_of_searches_that_both_have_ended():
    lines = pair_lines(RESULTS, 3)
    assert lines[2] == "| NNI TPE | 2 | +0.0500 | 75% |", "one better, one tie"
    assert lines[4] == "| NNI Random | 1 | +0.6000 | 100% |"


def test_five_pairs_have_an_interval():
    ours = {seed: full(0.1, 0.6) for seed in range(5)}
    results = {"Dream learning": ours, "NNI TPE": {seed: full(0.1, 0.4) for seed in range(5)}}
    assert pair_lines(results, 2)[2] == "| NNI TPE | 5 | +0.2000 (+0.2000 to +0.2000) | 100% |"


@pytest.mark.parametrize("head", [search_report.HEAD, ranges.HEAD, replay.HEAD, condition_value.HEAD])
def test_every_report_says_what_its_intervals_are(head):
    words = "bootstrap 95 % intervals of their mean (expanded for few pairs, none for fewer than five)"
    assert words in " ".join(head.split())


def test_the_sentences_compare_with_all_at_once():
    text = section("toy", "", RESULTS, 3)
    assert (
        "At 3 trials learning was better than every third-party tuner at once in 100% of the searches that all of "
        "them have ended (1; ties count half)." in text
    )
    assert "Feedback adds (learning minus 'Dream learning, score only'): +0.2000 at 3." in text
    assert "expanded space" not in text, "nobody searched the base space"


def test_a_section_without_searches_has_its_facts():
    assert section("toy", "nothing yet", {"NNI TPE": {}}, 3).splitlines()[:3] == ["## toy", "", "nothing yet"]
