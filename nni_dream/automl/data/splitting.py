"""Which rows train, which validate, which test: seeded, disjoint, and with the same shares of every class."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nni_dream.automl.data.errors import DataError

__all__ = ["Chosen", "allocate", "choose_rows", "choose_stratified", "strata_of"]

SHARES: Final = {
    "validation": 0.2,  # of train; AutoKeras, validation_split
    "test": 0.1,  # of all, where no test is published; as one fold of the ten that are usual for MR
}
TEST_SEED: Final = 0  # not the caller's: whatever seed a trial has, no other trial may have trained on its test rows
N_BINS: Final = 10  # strata of a number that is to be regressed

Rows = NDArray[np.int64]


class Chosen(NamedTuple):
    """Rows in ascending order.  ``None`` for a published part means all of it."""

    train: Rows  # of the published train
    validation: Rows  # of the published validation where there is one, else of train
    test: Rows | None  # of train; None: the published test


def choose_rows(
    train: NDArray[Any],
    validation: NDArray[Any] | None,
    *,
    has_test: bool,
    seed: int,
    n_train: int | None,
    where: str = "train",
) -> Chosen:
    """Split by the targets of the published parts.

    The validation rows are drawn before ``n_train`` is looked at, and thinned in the same proportion: whatever it is,
    no row is in train for one value and in validation for another.

    Args:
        train: Targets, int64 (N,), or float32 (N,) or (N, k).
        validation: The same, of the published validation part.
        n_train: Training rows to keep, at least one of each stratum; None: all.
        where: The file or folder of the training part, for messages.

    Raises:
        DataError: If there are too few rows, the seed is negative, or ``n_train`` is not between the number of classes
            and of rows.
    """
    if seed < 0:
        raise DataError(f"seed is {seed}, expected 0 or more")
    strata = strata_of(train)
    rest: Rows = np.arange(len(train))
    test: Rows | None = None
    if not has_test:
        test, rest = _split_off("test", rest, strata, np.random.default_rng(TEST_SEED), where=where)
    if validation is None:
        chosen, rest = _split_off("validation", rest, strata, np.random.default_rng([seed, 0]), where=where)
        validation_strata = strata
    else:
        chosen, validation_strata = np.arange(len(validation)), strata_of(validation)
    if n_train is None:
        return Chosen(rest, chosen, test)
    _check_n_train(n_train, len(rest), len(np.unique(strata)))
    n_validation = max(1, round(len(chosen) * n_train / len(rest)))
    thinned = choose_stratified(validation_strata[chosen], n_validation, np.random.default_rng([seed, 1]))
    kept = choose_stratified(strata[rest], n_train, np.random.default_rng([seed, 2]), at_least=1)
    return Chosen(rest[kept], chosen[thinned], test)


def _check_n_train(n_train: int, n_rows: int, n_strata: int) -> None:
    if not n_strata <= n_train <= n_rows:
        raise DataError(
            f"n_train is {n_train}, expected {n_strata} (one of each class, or of each tenth of numbers) to {n_rows} "
            "(what is left for training)"
        )


def strata_of(targets: NDArray[Any]) -> NDArray[np.int64]:
    """The class of each row; of numbers, the tenth of their range of ranks (the first of several numbers counts)."""
    if np.issubdtype(targets.dtype, np.integer):
        return targets.astype(np.int64)
    first = targets.reshape(len(targets), -1)[:, 0]
    edges = np.unique(np.quantile(first, np.linspace(0, 1, N_BINS + 1)[1:-1]))
    strata: NDArray[np.int64] = np.digitize(first, edges).astype(np.int64)
    return strata


def _split_off(
    part: str, rows: Rows, strata: NDArray[np.int64], rng: np.random.Generator, *, where: str
) -> tuple[Rows, Rows]:
    """Take the share of a part away, and leave at least one row of every stratum."""
    own, share = strata[rows], SHARES[part]
    n_strata = len(np.unique(own))
    n_taken = min(round(share * len(rows)), len(rows) - n_strata)
    if n_taken < 1:
        raise DataError(
            f"{where}: {len(rows)} examples are too few to set a share of {share:g} aside for {part} and to keep one "
            f"of each of their {n_strata} kinds; add more, or a {part} part"
        )
    taken = choose_stratified(own, n_taken, rng, leave=1)
    return rows[taken], np.delete(rows, taken)


def choose_stratified(
    strata: NDArray[np.int64], n: int, rng: np.random.Generator, *, at_least: int = 0, leave: int = 0
) -> Rows:
    """Draw n rows without repeats, each stratum in proportion to its size; ascending.

    Args:
        at_least: Rows of every stratum that are taken anyway.
        leave: Rows of every stratum that are never taken.
    """
    names, stratum_of_row, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    counts = allocate(sizes, n, lower=np.full(len(names), at_least), upper=sizes - leave)
    shuffled = rng.permutation(len(strata))
    drawn = [shuffled[stratum_of_row[shuffled] == index][:count] for index, count in enumerate(counts)]
    rows: Rows = np.sort(np.concatenate(drawn)).astype(np.int64)
    return rows


def allocate(sizes: Rows, n: int, *, lower: Rows, upper: Rows) -> Rows:
    """Share n among strata in proportion to their sizes, by largest remainder, within bounds.

    ``lower.sum() <= n <= upper.sum()`` must hold.
    """
    quotas = sizes * (n / sizes.sum())
    counts: Rows = np.clip(np.floor(quotas).astype(np.int64), lower, upper)
    while counts.sum() < n:
        counts[np.argmax(np.where(counts < upper, quotas - counts, -np.inf))] += 1
    while counts.sum() > n:
        counts[np.argmin(np.where(counts > lower, quotas - counts, np.inf))] -= 1
    return counts
