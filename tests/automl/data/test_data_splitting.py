import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.splitting import allocate, choose_rows, choose_stratified, strata_of


@pytest.mark.parametrize(
    ("sizes", "n", "expected"),
    [
        ([50, 30, 20], 10, [5, 3, 2]),
        ([10, 10, 10], 4, [2, 1, 1]),  # equal remainders: the first
        ([97, 2, 1], 10, [10, 0, 0]),  # 9.7, 0.2, 0.1
        ([3, 3], 6, [3, 3]),
        ([3, 3], 0, [0, 0]),
    ],
)
def test_shares_are_those_of_the_sizes(sizes, n, expected):
    sizes = np.array(sizes)
    assert allocate(sizes, n, lower=np.zeros_like(sizes), upper=sizes).tolist() == expected


def test_bounds_come_before_shares():
    sizes = np.array([97, 2, 1])
    assert allocate(sizes, 10, lower=np.ones(3, int), upper=sizes).tolist() == [8, 1, 1]
    assert allocate(sizes, 99, lower=np.zeros(3, int), upper=sizes - np.array([0, 0, 1])).tolist() == [97, 2, 0]


@given(st.data(), st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_what_is_drawn(data, sizes):
    strata = np.repeat(np.arange(len(sizes)), sizes)
    n = data.draw(st.integers(len(sizes), len(strata)))
    rows = choose_stratified(strata, n, np.random.default_rng(0), at_least=1)
    assert len(rows) == n
    assert (np.diff(rows) > 0).all()
    counts = np.bincount(strata[rows], minlength=len(sizes))
    assert (counts >= 1).all()
    assert (counts <= sizes).all()


def test_numbers_are_split_by_tenths_of_their_ranks():
    values = np.arange(100, dtype=np.float32) ** 2
    strata = strata_of(values)
    assert np.bincount(strata).tolist() == [10] * 10
    assert np.array_equal(strata_of(np.stack([values, -values], axis=1)), strata)


def test_equal_numbers_are_one_stratum():
    assert len(set(strata_of(np.full(7, 3.0, np.float32)).tolist())) == 1


def choose(targets, **arguments):
    given = {"validation": None, "has_test": True, "seed": 0, "n_train": None}
    return choose_rows(np.asarray(targets), **{**given, **arguments})


def test_a_fifth_validates_and_a_tenth_tests():
    chosen = choose(np.arange(1000) % 10, has_test=False)
    assert [len(rows) for rows in chosen] == [720, 180, 100]
    assert sorted(np.concatenate(chosen)) == list(range(1000))
    assert np.bincount(chosen.validation % 10).tolist() == [18] * 10
    assert np.bincount(chosen.test % 10).tolist() == [10] * 10


def test_a_published_validation_part_is_used_whole():
    chosen = choose(np.arange(20) % 2, validation=np.arange(6) % 2)
    assert [len(rows) for rows in chosen[:2]] == [20, 6]
    assert chosen.test is None


def test_a_published_validation_part_shrinks_with_train():
    chosen = choose(np.arange(20) % 2, validation=np.arange(6) % 2, n_train=10)
    assert [len(rows) for rows in chosen[:2]] == [10, 3]


def test_a_class_of_one_stays_in_train():
    chosen = choose([0, 0, 0, *range(1, 10)])  # 2 of 12 rows validate: by shares, class 1 would lose its only one
    assert set(chosen.validation.tolist()) < {0, 1, 2}


def test_n_train_keeps_one_of_the_smallest_class():
    chosen = choose([0] * 100 + [1, 1], n_train=2)
    assert (chosen.train >= 100).tolist() == [False, True]


def test_no_row_changes_sides_with_n_train():
    targets = np.arange(300) % 3
    choices = [choose(targets, n_train=n) for n in (None, 200, 100, 10)]
    trained = set(np.concatenate([chosen.train for chosen in choices]).tolist())
    validated = set(np.concatenate([chosen.validation for chosen in choices]).tolist())
    assert not trained & validated


def test_a_smallest_validation_part_is_one_row():
    assert len(choose(np.arange(300) % 3, n_train=3).validation) == 1


@pytest.mark.parametrize("targets", [[0, 1], [0, 1, 2, 3], [0.5, 1.5]])
@pytest.mark.parametrize(("has_test", "part", "share"), [(True, "validation", "0.2"), (False, "test", "0.1")])
def test_too_few_examples(targets, has_test, part, share):
    n = len(targets)
    with pytest.raises(
        DataError,
        match=rf"^my/data: {n} examples are too few to set a share of {share} aside for {part} and to keep one of each "
        rf"of their {n} kinds; add more, or a {part} part$",
    ):
        choose(targets, has_test=has_test, where="my/data")
