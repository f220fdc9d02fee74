from argparse import ArgumentTypeError

import numpy as np
import pytest
from comparison import best_so_far, bootstrap, difference_text, draw, first_reaching, report_file, share_better


def test_best_so_far_never_falls_and_passes_over_what_failed():
    assert best_so_far([0.2, None, 0.1, 0.5, None]) == [0.2, 0.2, 0.2, 0.5, 0.5]


def test_ties_count_half():
    assert share_better(np.array([1.0, 2.0, 3.0, 0.0]), np.array([0.0, 2.0, 4.0, 0.0])) == pytest.approx(0.5)


def test_the_interval_holds_the_mean_and_is_the_same_every_time():
    differences = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    low, high = bootstrap(differences)
    assert 0.1 <= low < 0.3 < high <= 0.5
    assert bootstrap(differences) == (low, high)


def test_the_interval_of_equal_differences_is_their_value():
    assert bootstrap(np.full(5, 0.2)) == pytest.approx((0.2, 0.2))


@pytest.mark.parametrize(("n", "least"), [(5, 0.87), (10, 0.90), (20, 0.91)])
def test_intervals_of_few_pairs_are_wide_enough(n, least):
    """Plain percentiles hold the true mean of 5 normal differences in 83 % of the cases, of 10 in 89 %."""
    rng = np.random.default_rng(0)
    intervals = [bootstrap(rng.normal(size=n)) for _ in range(400)]
    assert least < np.mean([low <= 0 <= high for low, high in intervals]) < 0.97


def test_five_pairs_are_the_least_that_have_an_interval():
    assert bootstrap(np.array([0.1, 0.2, 0.3, 0.4])) is None
    assert bootstrap(np.array([0.1, 0.2, 0.3, 0.4, 0.5])) is not None


def test_a_difference_in_words_has_its_interval_where_there_is_one():
    assert difference_text(np.array([0.1, 0.2])) == "+0.1500"
    assert difference_text(np.full(5, -0.2)) == "-0.2000 (-0.2000 to -0.2000)"
    assert difference_text(np.full(5, 0.2), digits=3) == "+0.200 (+0.200 to +0.200)"


@pytest.mark.parametrize(("goal", "expected"), [(0.1, 1), (0.3, 2), (0.5, 3), (0.6, None)])
def test_first_trial_that_reaches_a_goal(goal, expected):
    assert first_reaching([0.2, 0.3, 0.5], goal) == expected


def test_the_figure_has_a_panel_for_each_data_set(tmp_path):
    draw({"digits": {"NNI TPE": [0.1, 0.2], "Dream learning": [0.2, 0.3]}, "trec": {}}, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_a_report_goes_into_a_markdown_file_that_may_be_new(tmp_path):
    assert report_file(str(tmp_path / "new" / "report.md")) == tmp_path / "new" / "report.md"


@pytest.mark.parametrize("name", ["folder", "folder.md", "report.png"])
def test_a_report_that_could_not_be_written_is_refused_before_anything_is_trained(tmp_path, name):
    if name.startswith("folder"):
        (tmp_path / name).mkdir()
    with pytest.raises(ArgumentTypeError, match=r"is no Markdown file: expected a path that ends in \.md"):
        report_file(str(tmp_path / name))
