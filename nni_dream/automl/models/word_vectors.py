"""Read published word vectors: GloVe's, fastText's and word2vec's text format, a word and its numbers a line."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from nni_dream.automl.vocabulary import N_SPECIAL, Vocabulary
from nni_dream.automl.weights import WeightsError

__all__ = ["read_word_vectors"]


def read_word_vectors(path: Path, vocabulary: Vocabulary) -> Tensor:
    """Return the vectors of a vocabulary's words: (len(vocabulary), D); words that the file has not are zero.

    Raises:
        WeightsError: If a line is no word and numbers, or the file has none of the words.
    """
    wanted = {term: i for i, term in enumerate(vocabulary.terms, start=N_SPECIAL)}
    found: dict[int, Tensor] = {}
    dimension: int | None = None
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            word, *values = line.rstrip().split(" ")
            if number == 1 and len(values) == 1:
                continue  # the header of word2vec and fastText: how many, how long
            dimension = len(values) if dimension is None else dimension
            if len(values) > dimension:
                continue  # GloVe has entries of several words, as "at name@domain.com"
            if word in wanted:
                found[wanted[word]] = _vector(values, dimension, f"{path}: line {number}")
    if dimension is None or not found:
        raise WeightsError(f"{path}: has none of the {len(wanted)} words of the training texts")
    vectors = torch.zeros(len(vocabulary), dimension)
    vectors[list(found)] = torch.stack(list(found.values()))
    return vectors


def _vector(values: list[str], dimension: int, where: str) -> Tensor:
    try:
        vector = torch.tensor([float(value) for value in values])
    except ValueError as error:
        raise WeightsError(f"{where}: {error}") from error
    if len(vector) != dimension:
        raise WeightsError(f"{where}: has {len(vector)} numbers, expected {dimension} as in the lines before")
    return vector
