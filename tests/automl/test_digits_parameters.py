import math

import pytest

from nni_dream.automl.digits_parameters import DigitsParameters, read_digits_parameters
from nni_dream.automl.parameters import ParameterError


def test_defaults():
    assert read_digits_parameters({}) == DigitsParameters()
    assert read_digits_parameters(DigitsParameters().to_nested()) == DigitsParameters()


def test_nested_values_are_read():
    parameters = read_digits_parameters(
        {"optimizer": {"_name": "sgd", "momentum": 0.9}, "block_type": {"_name": "vanilla", "kernel_size": 5}}
    )
    assert (parameters.optimizer.name, parameters.optimizer.momentum) == ("sgd", 0.9)
    assert (parameters.block_type.kernel_size, parameters.block_type.num_blocks) == (5, 2)


@pytest.mark.parametrize(
    ("short", "nested"),
    [
        ({"optimizer": "sgd"}, {"optimizer": {"_name": "sgd"}}),
        ({"augment": True}, {"augment": {"_name": "true"}}),
        ({"augment": False}, {"augment": {"_name": "false"}}),
    ],
)
def test_a_choice_may_be_written_short(short, nested):
    assert read_digits_parameters(short) == read_digits_parameters(nested)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"optimizer": {"_name": "sdg"}}, "parameter 'optimizer' is {'_name': 'sdg'}: expected 'adam', 'sgd', "),
        ({"optimizer": {"momentum": 0.5}}, "parameter 'optimizer' is {'momentum': 0.5}: "),
        ({"optimizer": {"_name": "adam", "momentum": 0.5}}, "parameter 'optimizer.adam.momentum' is unknown here"),
        ({"optimizer": {"_name": "sgd", "momentum": 1.0}}, "parameter 'optimizer.sgd.momentum' is 1.0: Input should"),
        ({"block_type": {"_name": "vanilla", "filters": 7}}, "parameter 'block_type.vanilla.filters' is 7: expected"),
        ({"block_type": {"_name": "resnet", "version": "b0"}}, "'block_type.resnet.version' is 'b0': expected"),
        ({"reduction_type": "mean"}, "parameter 'reduction_type' is 'mean': expected 'flatten', 'global_max' or"),
        ({"learning_rate": 0}, "parameter 'learning_rate' is 0: Input should be greater than 0"),
        ({"learning_rate": math.nan}, "parameter 'learning_rate' is nan: Input should be"),
        ({"learning_rat": 0.1}, "parameter 'learning_rat' is unknown here"),
    ],
)
def test_what_is_not_allowed_is_named(parameters, message):
    with pytest.raises(ParameterError) as raised:
        read_digits_parameters(parameters)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
