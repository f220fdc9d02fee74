import math

import pytest
import torch

from nni_dream.automl.vocabulary import Vocabulary, VocabularyError, fit_vocabulary, terms_of, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What is the Don't-Care bit ?", ["what", "is", "the", "don't", "care", "bit"]),
        ("naïve CAFÉ 1984", ["naïve", "café", "1984"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),  # vowels that are marks
        ("தமிழ்", ["தமிழ்"]),
        ("cafe\u0301", ["café"]),  # composed, so that both forms are one word
        ("I ❤\ufe0f 1\ufe0f\u20e3", ["i", "1"]),
        ("这部电影很好\uff0ciPhone 15 too", [*"这部电影很好", "iphone", "15", "too"]),  # no blanks between words
        ("映画が、すごい〆切2024年", [*"映画がすごい〆切", "2024", "年"]),
        ("プロ・ﾊﾟｿｺﾝ 𠮷野", [*"プロﾊﾟｿｺﾝ𠮷野"]),
        ("ไม่ดี ๑๒ บาท", ["ไ", "ม่", "ดี", "๑๒", *"บาท"]),  # numbers stay whole
        ("ດີ ល្អ ကောင်း", ["ດີ", "ល្", "អ", "ကော", "င်း"]),
        ("아주 좋은 영화", ["아주", "좋은", "영화"]),  # has blanks
        ("?!", []),
        ("", []),
    ],
)
def test_words(text, words):
    assert words_of(text) == words


def test_pairs_of_characters_are_the_words_of_texts_without_blanks():
    assert terms_of("很好", 2) == ["很", "好", "很 好"]


def test_terms_are_words_and_then_pairs_and_triples():
    assert terms_of("a b c", 1) == ["a", "b", "c"]
    assert terms_of("a b c", 3) == ["a", "b", "c", "a b", "b c", "a b c"]


def test_the_most_frequent_terms_are_kept_and_ties_are_alphabetic():
    vocabulary = fit_vocabulary(["c b a", "b a", "z"], max_tokens=4)
    assert vocabulary.terms == ("a", "b")
    assert len(vocabulary) == 4  # with padding and unknown
    assert fit_vocabulary(["z c"], max_tokens=99).terms == ("c", "z")


def test_weights_are_inverse_document_frequencies():
    vocabulary = fit_vocabulary(["a a b", "a"], max_tokens=10)
    assert vocabulary.weights == pytest.approx((math.log(1 + 2 / 3), math.log(1 + 2 / 2)))


def test_texts_are_cut_and_filled_up_at_the_end():
    vocabulary = Vocabulary(("a", "b"), (1.0, 1.0))
    assert vocabulary.encode(["a x b a", "b"], 3).tolist() == [[2, 1, 3], [3, 0, 0]]
    assert vocabulary.encode(["a x b a", "b"]).tolist() == [[2, 1, 3, 2], [3, 0, 0, 0]]
    assert vocabulary.encode(["", ""], 2).dtype is torch.int32


def test_texts_without_words_are_refused():
    with pytest.raises(VocabularyError, match="none of the 2 training texts has a word, expected one at least"):
        fit_vocabulary(["?", ""], max_tokens=10)
