import pytest
from test_gains import NORMAL, subject, table  # `search` is also the name of a benchmark

from nni_dream.search.conditions import Condition
from nni_dream.search.space import SearchSpace
from nni_dream.search.table_words import TableWords

MEASURED = table(
    {
        NORMAL: [
            ("learning_rate", 0.01, 0.2, 1, None),
            ("block_type", "resnet", 0.1, 1, None),
            ("block_type", "xception", 0.3, 1, None),
            ("weight_decay_rate", 0.1, 0.1, 1, None),
            ("dropout", 0.25, 0.1, 1, None),
            ("dropout", 0.21, 0.1, 1, None),
            ("dropout", 0, 0.1, 1, None),
            ("filters", 256, 0.1, 1, None),
            ("augment", True, 0.1, 1, None),
        ]
    }
)
SPACE = SearchSpace(
    {
        "optimizer": {"_type": "choice", "_value": ["AdamW", "SGD"]},
        "lr": {"_type": "loguniform", "_value": [1e-5, 1.0]},
        "augment": {"_type": "choice", "_value": ["true", "false"]},
        "model": {"_type": "choice", "_value": ["ResNet50", "xception"]},
        "wd": {"_type": "uniform", "_value": [0.0, 0.05]},
        "dropout": {"_type": "quniform", "_value": [0.0, 0.5, 0.05]},
        "filters": {"_type": "randint", "_value": [16, 512]},
        "momentum": {"_type": "uniform", "_value": [0.0, 1.0]},
    }
)
WORDS = TableWords(SPACE, MEASURED)


def parameter(name):
    return next(parameter for parameter in SPACE.walk() if parameter.name == name)


def of(name, value, words=WORDS):
    return words.subject(parameter(name), value, Condition.parse(NORMAL))


@pytest.mark.parametrize(
    ("name", "object_"),
    [("model", "block_type"), ("wd", "weight_decay_rate"), ("lr", "learning_rate"), ("momentum", "momentum")],
)
def test_a_parameter_is_called_as_the_table_calls_its_name_or_its_role(name, object_):
    assert WORDS.object(parameter(name)) == object_


def test_without_a_table_it_keeps_its_own_name():
    assert TableWords(SPACE, None).object(parameter("model")) == "model"


def test_a_parameter_of_the_objects_own_name_goes_before_one_of_its_role():
    space = SearchSpace(
        {name: {"_type": "choice", "_value": ["resnet", "xception"]} for name in ("model", "block_type")}
    )
    words = TableWords(space, MEASURED)
    assert [words.object(parameter) for parameter in space.walk()] == ["model", "block_type"]


def test_a_value_has_the_word_of_the_table():
    assert of("optimizer", "AdamW") == subject("optimizer", "adam_weight_decay")
    assert of("model", "ResNet50") == subject("block_type", "resnet")


@pytest.mark.parametrize("words", [WORDS, TableWords(SPACE, None)], ids=["with a table", "without"])
def test_a_number_of_a_range_stands_for_what_is_near(words):
    assert of("lr", 0.0103, words) == subject("learning_rate", 0.01)
    assert of("lr", 0.0033, words) == subject("learning_rate", 0.003)


@pytest.mark.parametrize(("value", "near"), [(0.25, 0.25), (0.2, 0.21), (0.22, 0.21), (0.3, 0.3), (0.0, 0)])
def test_near_is_the_nearest_value_of_the_table_with_the_same_first_digit(value, near):
    """Rounded alike: 0.25 and 0.21 both to 0.2."""
    assert of("dropout", value) == subject("dropout", near)


def test_a_whole_number_stands_for_itself():
    assert of("filters", 256) == subject("filters", 256)
    assert of("filters", 257) == subject("filters", 257)


def test_true_is_true_in_either_form():
    assert of("augment", "true").value == '"true"'


def test_the_tables_values_that_lie_in_a_range():
    """As the range has them: 0 as 0.0, a count as a whole number; 0.21 is no multiple of 0.05, 0.1 too much decay."""
    assert {
        name: WORDS.numbers(parameter(name)) for name in ("lr", "wd", "dropout", "filters", "momentum", "model")
    } == {
        "lr": [0.01],
        "wd": [],
        "dropout": [0.25, 0.0],
        "filters": [256],
        "momentum": [],
        "model": [],
    }
    assert all(isinstance(value, float) for value in WORDS.numbers(parameter("dropout")))
    assert all(isinstance(value, int) for value in WORDS.numbers(parameter("filters")))
