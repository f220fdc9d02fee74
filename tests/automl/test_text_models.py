"""All block types of the text space, at tiny scale."""

import pytest
import torch
from torch import nn

from nni_dream.automl.models.text import TermFrequencies, WordVectors, build_text_model, text_length
from nni_dream.automl.models.word_vectors import read_word_vectors
from nni_dream.automl.task_settings import read_settings
from nni_dream.automl.vocabulary import Vocabulary, fit_vocabulary
from nni_dream.automl.weights import WeightsError, WeightsSource

TEXTS = [" ".join(f"w{(i * j) % 37}" for j in range(1, 20)) for i in range(1, 33)]
N_CLASSES = 5
BLOCKS = [
    {"_name": "vanilla"},
    {"_name": "vanilla", "separable": True, "kernel_size": 7, "num_blocks": 3, "activation": "tanh"},
    {"_name": "vanilla", "pretraining": "random", "max_pooling": False, "activation": "selu"},
    {"_name": "transformer"},
    {"_name": "transformer", "num_heads": 32, "dense_dim": 2048, "embedding_dim": 512},
    {"_name": "transformer", "pretraining": "random", "embedding_dim": 32},
    {"_name": "ngram"},
    {"_name": "ngram", "ngrams": 2},
]


def build(block, texts=TEXTS, *, source=None, scale="tiny", **parameters):
    settings = read_settings("text_classification", {"block_type": block, **parameters})
    vocabulary = fit_vocabulary(texts, max_tokens=settings.max_tokens, n=block.get("ngrams", 1))
    torch.manual_seed(0)
    model = build_text_model(settings, N_CLASSES, vocabulary, source=source or WeightsSource(scale))
    return model, vocabulary.encode(texts, text_length(settings, scale))


def in_words(block):
    return "-".join(str(value) for value in block.values())


@pytest.mark.parametrize("reduction_type", ["flatten", "global_max", "global_avg"])
@pytest.mark.parametrize("use_batchnorm", [True, False])
@pytest.mark.parametrize("block", BLOCKS, ids=in_words)
def test_tiny_networks_train(block, reduction_type, use_batchnorm):
    """Output shape, a gradient in every weight, no NaN."""
    if block["_name"] != "ngram":
        block = {**block, "reduction_type": reduction_type}
    model, ids = build(block, use_batchnorm=use_batchnorm)
    logits = model(ids)
    assert logits.shape == (len(TEXTS), N_CLASSES)
    nn.functional.cross_entropy(logits, torch.arange(len(TEXTS)) % N_CLASSES).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("block", [BLOCKS[0], BLOCKS[3], BLOCKS[6]], ids=in_words)
def test_full_networks_train(block):
    model, ids = build(block, scale="full")
    model(ids).sum().backward()
    tiny, _ = build(block)
    assert sum(p.numel() for p in model.parameters()) > sum(p.numel() for p in tiny.parameters())


def test_random_vectors_are_kept_as_they_were_drawn():
    model, _ = build({"_name": "vanilla", "pretraining": "random"})
    fixed = model.backbone[0].table
    assert not list(fixed.parameters())
    assert fixed.vectors.std().item() > 0


def test_the_order_of_words_counts_for_sequences_and_not_for_frequencies():
    turned = [" ".join(reversed(text.split())) for text in TEXTS]
    for block, counts in [({"_name": "vanilla"}, True), ({"_name": "transformer"}, True), ({"_name": "ngram"}, False)]:
        model, _ = build(block)
        model.eval()
        settings = read_settings("text_classification", {"block_type": block})
        vocabulary = fit_vocabulary(TEXTS, max_tokens=5000)
        straight, reverse = (
            model(vocabulary.encode(texts, text_length(settings, "tiny"))) for texts in (TEXTS, turned)
        )
        assert torch.allclose(straight, reverse, atol=1e-6) is not counts


def test_term_frequencies_equal_counting_by_hand():
    vocabulary = Vocabulary(("a", "b"), (2.0, 3.0))
    bag = TermFrequencies(vocabulary)(vocabulary.encode(["a b a", "b x", ""]))
    assert bag.tolist() == [[0, 0, 4.0, 3.0], [0, 2.5, 0, 3.0], [0, 0, 0, 0]]  # unknown words weigh the mean


def test_word_vectors_of_another_length_are_projected():
    given = torch.randn(4, 3)
    same, other = WordVectors(4, 3, given=given), WordVectors(4, 5, given=given)
    ids = torch.tensor([[0, 3]])
    assert torch.equal(same(ids), given[[0, 3]].T[None])
    assert other(ids).shape == (1, 5, 2)


@pytest.mark.parametrize("header", ["", "2 3\n"])
def test_word_vectors_are_read(tmp_path, header):
    path = tmp_path / "glove.txt"
    path.write_text(header + "b 1 2 3\nother 0 0 0\n")
    vectors = read_word_vectors(path, Vocabulary(("a", "b"), (1.0, 1.0)))
    assert vectors.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 2, 3]]


def test_entries_of_several_words_are_passed_over(tmp_path):
    """GloVe of 840 billion tokens has "at name@domain.com"; the first word may be one that is wanted."""
    path = tmp_path / "glove.txt"
    path.write_text("b 1 2\na name@domain.com 3 4\na . . 5 6\na 7 8\n")
    assert read_word_vectors(path, Vocabulary(("a", "b"), (1.0, 1.0)))[2:].tolist() == [[7, 8], [1, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("other 1 2\n", r"glove\.txt: has none of the 2 words of the training texts"),
        ("", r"has none of the 2 words"),
        ("a 1 x\n", r"glove\.txt: line 1: could not convert string to float: 'x'"),
        ("a 1 2\nb 1\n", r"line 2: has 1 numbers, expected 2 as in the lines before"),
    ],
)
def test_broken_word_vectors_are_named(tmp_path, text, message):
    path = tmp_path / "glove.txt"
    path.write_text(text)
    with pytest.raises(WeightsError, match=message):
        read_word_vectors(path, Vocabulary(("a", "b"), (1.0, 1.0)))


def test_missing_word_vectors_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"pretraining = glove needs word vectors: no --weights-dir was given"):
        build({"_name": "vanilla", "pretraining": "glove"})
    with pytest.raises(WeightsError, match=r"pretraining = glove needs word vectors: .*glove\.txt is not there"):
        build({"_name": "vanilla", "pretraining": "glove"}, source=WeightsSource("tiny", tmp_path))
