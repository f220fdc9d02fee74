"""From texts to ids of terms: words in order for networks over sequences, n-grams for term frequencies.

As Keras's `TextVectorization`, which AutoKeras uses: lower case, without punctuation, the most frequent terms of the
training texts.  Where a script has no blanks between words, each character is a word, as BERT has it; n-grams then make
words of them.  Id 0 fills short texts up, id 1 is every term that is not in the vocabulary.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

__all__ = ["N_SPECIAL", "PADDING", "UNKNOWN", "Vocabulary", "VocabularyError", "fit_vocabulary", "terms_of", "words_of"]

PADDING: Final = 0
UNKNOWN: Final = 1
N_SPECIAL: Final = 2  # ids before that of the first term
LAST_MARK: Final = 0x1FFFF  # after it, marks only choose between variants of a character
VARIANTS: Final = range(0xFE00, 0xFE10)  # of emoji, say
UNSPACED: Final = (  # blocks of scripts without blanks between words
    range(0x0E00, 0x0F00),  # Thai, Lao
    range(0x1000, 0x10A0),  # Burmese
    range(0x1780, 0x1800),  # Khmer
    range(0x3005, 0x3008),  # marks that stand for ideographs
    range(0x3040, 0x3100),  # kana
    range(0x31F0, 0x3200),
    range(0x3400, 0x4DC0),  # ideographs of Chinese, Japanese and Korean
    range(0x4E00, 0xA000),
    range(0xA9E0, 0xAA00),  # Burmese
    range(0xAA60, 0xAA80),
    range(0xF900, 0xFB00),
    range(0xFF66, 0xFFA0),  # kana of half width
    range(0x1B000, 0x1B170),
    range(0x20000, 0x40000),
)
MAX_LENGTH: Final = 4096  # n-grams of a text that count; longer texts are cut


class VocabularyError(ValueError):
    """Texts have nothing to make a vocabulary of."""


@dataclass(frozen=True)
class Vocabulary:
    """Terms by falling frequency; the id of the first is 2."""

    terms: tuple[str, ...]
    weights: tuple[float, ...]  # inverse document frequency of each term, 0 or more
    n: int = 1  # the longest n-grams that are terms

    def __len__(self) -> int:
        """How many ids there are, with padding and unknown."""
        return len(self.terms) + N_SPECIAL

    def encode(self, texts: Sequence[str], length: int | None = None) -> Tensor:
        """Return the ids of the terms: (N, length), int32, cut or filled up at the end.

        Args:
            length: ``None`` takes that of the longest text, and `MAX_LENGTH` at most.
        """
        ids = {term: i for i, term in enumerate(self.terms, start=N_SPECIAL)}
        rows = [[ids.get(term, UNKNOWN) for term in terms_of(text, self.n)] for text in texts]
        if length is None:
            length = min(MAX_LENGTH, max((len(row) for row in rows), default=1))
        filled = [row[:length] + [PADDING] * (length - len(row)) for row in rows]
        return torch.tensor(filled, dtype=torch.int32).view(len(texts), length)


def fit_vocabulary(texts: Sequence[str], *, max_tokens: int, n: int = 1) -> Vocabulary:
    """Take the most frequent terms of the texts; of equally frequent ones the first in the alphabet.

    Args:
        max_tokens: Ids, with padding and unknown; 3 or more.
        n: The longest n-grams that are terms.

    Raises:
        VocabularyError: If no text has a word.
    """
    counts: Counter[str] = Counter()
    document_counts: Counter[str] = Counter()
    for text in texts:
        terms = terms_of(text, n)
        counts.update(terms)
        document_counts.update(set(terms))
    kept = sorted(counts, key=lambda term: (-counts[term], term))[: max_tokens - N_SPECIAL]
    if not kept:
        raise VocabularyError(f"none of the {len(texts)} training texts has a word, expected one at least")
    weights = tuple(math.log(1 + len(texts) / (1 + document_counts[term])) for term in kept)
    return Vocabulary(tuple(kept), weights, n)


def words_of(text: str) -> list[str]:
    """Return the words in lower case, composed (NFC): letters, digits and their marks; an apostrophe stays inside.

    Of Chinese, Japanese, Thai, Lao, Khmer and Burmese each character is a word, with its marks; numbers stay whole.
    """
    return _word_pattern().findall(unicodedata.normalize("NFC", text.lower()))


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    r"""Python's `\w` has no combining marks, among which are the vowels of Hindi, Tamil and Thai."""
    codes = (code for code in range(LAST_MARK + 1) if code not in VARIANTS)
    marks = _as_set(code for code in codes if unicodedata.category(chr(code)) in ("Mn", "Mc"))
    alone = _as_set(code for block in UNSPACED for code in block if _is_letter(chr(code)))
    part = rf"[^\W{alone}]+(?:[{marks}]+[^\W{alone}]*)*"
    return re.compile(rf"[{alone}][{marks}]*|{part}(?:['’]{part})*")  # noqa: RUF001


def _is_letter(character: str) -> bool:
    return character.isalnum() and not character.isdecimal()


def _as_set(codes: Iterable[int]) -> str:
    """Return rising codes as ranges between brackets of a pattern: of thousands, a pattern is slow."""
    runs = itertools.groupby(enumerate(codes), key=lambda indexed: indexed[1] - indexed[0])
    ends = ([code for _, code in run] for _, run in runs)
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in ends)


def terms_of(text: str, n: int) -> list[str]:
    """Return the words, then the pairs of words, and so on up to n."""
    words = words_of(text)
    return [*words, *_longer_terms(words, n)] if n > 1 else words


def _longer_terms(words: Sequence[str], n: int) -> Iterable[str]:
    for size in range(2, n + 1):
        for start in range(len(words) - size + 1):
            yield " ".join(words[start : start + size])
