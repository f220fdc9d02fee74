"""Any search space: what real users wrote, their oddities once more in small, and whatever Hypothesis makes up.

The users' files are not part of this project.  They are looked for where NNI_DREAM_SEARCH_SPACES says, else in
``shared/data/nni_search_spaces`` beside the repository.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections import defaultdict
from pathlib import Path
from unittest.mock import patch

import pytest
from dispatcher import Manager
from generated_spaces import CONTINUOUS_SPECS, FINITE_SPECS, choice, definitions, option, ranged
from hypothesis import given, settings
from hypothesis import strategies as st
from nni.experiment.config.experiment_config import _load_search_space_file
from nni.runtime import msg_dispatcher
from nni.runtime.tuner_command_channel import CommandType

from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.space_files import SpaceFileError, read_space_file
from nni_dream.tuner import DreamTuner

pytestmark = pytest.mark.usefixtures("fresh_dispatcher")

N_SUGGESTIONS = 50
REPOSITORY = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("NNI_DREAM_SEARCH_SPACES", REPOSITORY.parent / "shared" / "data" / "nni_search_spaces"))
FILES = sorted(FOLDER.rglob("*.json"))
# Files that no NNI tuner of the common types can run, and what is said of each.
REFUSED = {
    "BioMedCoding__RetinaNet.json": "parameter 'lr' has unknown _type 'chooice'",
    "microsoft__nni__opevo-bmm-B960N128K128M64PNN.json": "parameter 'B' has unknown _type 'factor'",
    "microsoft__nni__opevo-conv-N512C3HW227F64K11ST4PD0.json": "parameter 'tile_f' has unknown _type 'factor'",
    "microsoft__nni__opevo-mm-N512K1024M1024.json": "parameter 'K' has unknown _type 'factor'",
    "microsoft__nni__test-sdk-assets.json": "parameter 'randint_fail_equal' (randint) has bounds [0, 0]",
    "Armand-Morin__AutoML.json": "neither JSON (line ",
    "gianmtedeschi__learnRL.json": "parameter 'learning_rate' is",
    "microsoft__nni__test-experiment-assets.json": "parameter 'a' is 1",
    "microsoft__nni__test-naive_test.json": "parameter 'x' is [1, 100]",
}


# --- an independent reading of the format: nothing here uses the package


def reason_outside(definition, configuration):
    """Why a configuration does not lie in a space, or None."""
    names = {name for name in definition if name != "_name"}
    if set(configuration) - {"_name"} != names:
        return f"has {sorted(configuration)}, not {sorted(names)}"
    for name in names:
        spec = definition[name]
        reason = (reason_no_option if spec["_type"] == "choice" else reason_out_of_range)(spec, configuration[name])
        if reason is not None:
            return f"{name}: {reason}"
    return None


def reason_no_option(spec, value):
    options = spec["_value"]
    if all(isinstance(one, dict) and "_name" in one for one in options):
        if not isinstance(value, dict) or "_name" not in value:
            return f"{value!r} has no _name"
        branch = [one for one in options if identity(one["_name"]) == identity(value["_name"])]
        return reason_outside(branch[0], value) if branch else f"{value!r} is none of the options"
    return None if identity(value) in map(identity, options) else f"{value!r} is none of {options!r}"


def reason_out_of_range(spec, value):
    type_, bounds = spec["_type"], spec["_value"]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return f"{value!r} is no number"
    slack = 1e-9 * max(map(abs, bounds))
    if type_ == "randint":
        return None if isinstance(value, int) and bounds[0] <= value < bounds[1] else f"{value!r} is outside {bounds}"
    is_clipped = "uniform" in type_
    if is_clipped and not bounds[0] - slack <= value <= bounds[1] + slack:
        return f"{value!r} is outside {bounds}"
    if "log" in type_ and value < 0:
        return f"{value!r} is negative"
    if type_.startswith("q") and not (is_clipped and min(abs(value - bounds[0]), abs(value - bounds[1])) <= slack):
        step = value / bounds[2]
        return None if abs(step - round(step)) < 1e-6 else f"{value!r} is no multiple of {bounds[2]}"
    return None


def identity(value):
    """Equal for what is equal in a trial: 1 and 1.0 are the same number, 1 and true are not the same value."""
    if isinstance(value, (bool, str)) or value is None:
        return type(value).__name__, value
    if isinstance(value, (int, float)):
        return "number", value
    if isinstance(value, dict):
        return "object", tuple(sorted((key, identity(inner)) for key, inner in value.items()))
    return "list", tuple(identity(inner) for inner in value)


def n_in(definition):
    """How many configurations there are; infinity where a range is continuous."""
    return math.prod(n_of(spec) for name, spec in definition.items() if name != "_name")


def n_of(spec):
    type_, values = spec["_type"], spec["_value"]
    if type_ == "choice":
        if all(isinstance(one, dict) and "_name" in one for one in values):
            return sum(map(n_in, values))
        return len(set(map(identity, values)))
    if type_ == "randint":
        return values[1] - values[0]
    if type_ in ("quniform", "qloguniform"):
        steps = range(round(values[0] / values[2]), round(values[1] / values[2]) + 1)
        return len({min(max(step * values[2], values[0]), values[1]) for step in steps})
    return 1 if "uniform" in type_ and values[0] == values[1] else math.inf


@pytest.mark.parametrize(
    ("definition", "inside", "outside"),
    [
        ({"x": choice(1, "a", [1])}, [{"x": 1}, {"x": [1]}], [{"x": True}, {"x": 2}, {}, {"x": 1, "y": 1}]),
        ({"x": choice(option("a", y=choice(1)))}, [{"x": {"_name": "a", "y": 1}}], [{"x": "a"}, {"x": {"_name": "a"}}]),
        ({"x": ranged("randint", 0, 2)}, [{"x": 1}], [{"x": 2}, {"x": 0.5}, {"x": True}]),
        ({"x": ranged("quniform", 2, 10, 5)}, [{"x": 2}, {"x": 5}], [{"x": 6}, {"x": 0}, {"x": 15}]),
        ({"x": ranged("qnormal", 0, 1, 5)}, [{"x": -5}], [{"x": 6}, {"x": math.nan}]),
        ({"x": ranged("lognormal", 0, 1)}, [{"x": 5}], [{"x": -5}, {"x": "5"}]),
    ],
)
def test_the_independent_check_can_fail(definition, inside, outside):
    assert [one for one in inside if reason_outside(definition, one) is not None] == []
    assert [one for one in outside if reason_outside(definition, one) is None] == []


# --- a search with random scores


def search(definition, n_suggestions=N_SUGGESTIONS, **class_args):
    """The configurations that the tuner suggests under NNI's dispatcher, and the errors that it reports."""
    scores, found = random.Random(0), []
    manager = Manager(DreamTuner(seed=0, **class_args))
    manager.initialize(definition)
    for number in range(n_suggestions):
        records = manager.request()
        if not records:
            break
        (record,) = records
        found.append(record["parameters"])
        job, parameter_id = f"job{number}", record["parameter_id"]
        if number % 3 == 0:
            manager.intermediate(job, parameter_id, 0, scores.random())
        manager.final(job, parameter_id, scores.random())
        manager.end(job, parameter_id)
    return found, [data for command, data in manager.channel.sent if command is CommandType.Error]


def assert_sound(definition, found, errors):
    assert errors == []
    assert [reason for each in found if (reason := reason_outside(definition, each)) is not None] == []
    assert len(set(map(identity, found))) == len(found), "a configuration was suggested twice"
    assert [json.loads(json.dumps(each, allow_nan=False)) for each in found] == found
    assert len(found) == min(N_SUGGESTIONS, n_in(definition)), "the search ended before the space was used up"


# --- files of real users


@pytest.mark.skipif(not FILES, reason=f"no search spaces of users in {FOLDER}; set NNI_DREAM_SEARCH_SPACES")
def test_every_file_of_a_real_user_is_there():
    assert len(FILES) == 62
    assert set(REFUSED) <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_a_real_user_runs_or_is_refused_by_name(path, log_folder):
    if path.name in REFUSED:
        with pytest.raises(SpaceFileError) as error:
            read_space_file(path)
        assert str(error.value).startswith(f"{path}: {REFUSED[path.name]}")
        if "neither JSON" not in REFUSED[path.name]:  # else NNI does not get as far as the tuner
            found, errors = search(_load_search_space_file(path))
            assert found == []
            assert any(REFUSED[path.name] in message for message in errors)
        return
    file = read_space_file(path)
    assert file.path == path
    definition = _load_search_space_file(path)
    assert_sound(definition, *search(definition))


# --- their oddities in small, and those that nobody wrote yet


def nested(depth):
    spec = choice(option("end", lr=ranged("loguniform", 1e-4, 1)))
    for _ in range(depth - 1):
        spec = choice(option("stop"), option("on", level=spec))
    return {"level": spec}


CLASSICAL = {  # NNI's own example of nested choices
    "layer0": choice(
        option("Empty"),
        option("Conv", kernel_size=choice(1, 2, 3, 5)),
        option("Max_pool", pooling_size=choice(2, 3, 5)),
        option("Avg_pool", pooling_size=choice(2, 3, 5)),
    )
}
ODDITIES = {
    "one value each": {"seed": choice(2021), "path": choice("/final"), "x": ranged("uniform", 99.9, 99.9)},
    "repeated candidates": {"kernel_size": choice(25, 25, 25, 45), "x": choice(1, 1.0, True, "1")},
    "booleans beside strings": {"x": choice(True, "true", False, "false"), "log": choice("None", None, "log2")},
    "mixed candidates": {"x": choice(0.3, "cat", 1, None, [1, 2], {"a": 1}, {"_name": "lonely"})},
    "lists and objects": {"layers": choice([64, 64], [128], []), "o": choice({"lr": 0.1}, {"lr": 0.01}, {})},
    "a wide learning rate": {"lr": ranged("loguniform", 1e-5, 100_000), "wd": ranged("uniform", 0, 1)},
    "a learning rate of words": {"lr": choice("4e-5", "1e-4"), "gamma": ranged("uniform", 0, 0.5)},
    "a step larger than the range": {"dropout_rate": ranged("quniform", 0.5, 0.9, 2), "x": choice(1, 2)},
    "a low that is no step": {"x": ranged("quniform", 2.0, 10.0, 5.0), "y": ranged("quniform", -5.5, -0.5, 6)},
    "equal bounds": {"a": ranged("loguniform", 1, 1), "b": ranged("qloguniform", 2, 2, 1), "c": choice(1, 2, 3)},
    "one integer": {"a": ranged("randint", 10, 11), "b": ranged("randint", -2, 3)},
    "every continuous type": {
        "uniform": ranged("uniform", -1.0, 1.5),
        "quniform": ranged("quniform", 0.0, 10.0, 2.5),
        "loguniform": ranged("loguniform", 0.001, 100),
        "qloguniform": ranged("qloguniform", 0.001, 100, 1),
        "normal": ranged("normal", -1.0, 5.0),
        "qnormal": ranged("qnormal", -1.5, 5.0, 0.1),
        "lognormal": ranged("lognormal", -1.0, 5.0),
        "qlognormal": ranged("qlognormal", -1.5, 5.0, 0.1),
    },
    "a parameter called nni": {"nni": choice(True), "_type": choice(1, 2), "_value": choice(1, 2)},
    "names of any characters": {
        name: choice(1, 2) for name in ("", " ", "a.b", "a/b", "a\nb", "\x1b[31m", "'\"", "学习率", "\ud800", "0")
    },
    "dots in names": {"SOLVER.BASE_LR": choice(0.1, 0.01), "MODEL.ENCODER": choice("resnet50", "mobilenet_v2")},
    "classical nesting": CLASSICAL,
    "nested booleans and numbers": {"x": choice(option(True, y=choice(1, 2)), option(1, y=choice(1)), option(None))},
    "the same name at every level": {"a": choice(option("a", a=choice(option("a", a=choice(1, 2)), option("b"))))},
    "fifty levels": nested(50),
    "large integers": {"x": ranged("randint", 0, 2**62), "y": choice(2**60, 2**60 + 1)},
    "tiny numbers": {"x": ranged("loguniform", 1e-300, 1e-290), "y": ranged("quniform", 0, 1e-9, 1e-10)},
    "many parameters": {f"x_{index}": choice(0, 1) for index in range(300)},
    "many options": {"backbone": choice(*(f"resnet{index}" for index in range(1000)))},
}


@pytest.mark.parametrize("definition", ODDITIES.values(), ids=ODDITIES)
def test_an_odd_space_is_searched(definition, log_folder):
    assert_sound(definition, *search(definition))


@pytest.mark.parametrize("strategy", ["static", "random"])
def test_a_space_of_unknown_parameters_is_searched_around_the_best(log_folder, strategy):
    """A bowl of four unknown parameters, lowest at 3: steps from the best trial go deeper than as many random draws.

    They go deeper than 4.0, too, where any choice among five fixed values (-8, -4, 0, 4, 8) of each ends.
    """
    definition = {f"p{index}": ranged("uniform", -10, 10) for index in range(4)}

    def height(configuration):
        return sum((value - 3) ** 2 for value in configuration.values())

    def lowest(seed):
        tuner = DreamTuner(seed=seed, optimize_mode="minimize", strategy=strategy)
        manager = Manager(tuner)
        manager.initialize(definition)
        for number in range(100):
            (record,) = manager.request()
            manager.final(f"job{number}", record["parameter_id"], height(record["parameters"]))
            manager.end(f"job{number}", record["parameter_id"])
        return tuner.book.best().score

    drawn = random.Random(0)
    draws = [min(sum((drawn.uniform(-10, 10) - 3) ** 2 for _ in range(4)) for _ in range(100)) for _ in range(20)]
    with patch.dict(os.environ):
        os.environ.pop("NNI_LOG_DIRECTORY")  # each search has its own book
        found = [lowest(seed) for seed in range(3)]
    assert max(found) < min(*draws, 4.0)


WRONG = {
    "parameter 'lr' (uniform) has bounds [1, 0] in reverse": {"lr": ranged("uniform", 1, 0)},
    "parameter 'lr' has unknown _type 'chooice'": {"lr": ranged("chooice", 1, 2)},
    "parameter 'lr' is a choice without any option": {"lr": choice()},
    "parameter 'a.b' (loguniform) has lower bound 0": {"a": choice(option("x", b=ranged("loguniform", 0, 1)))},
    "level' is nested 101 choices deep": nested(101),
    "search space is a list": [],
}


@pytest.mark.parametrize(("words", "definition"), WRONG.items(), ids="{!s:.40}".format)
def test_a_wrong_space_ends_the_experiment_with_its_reason(words, definition, log_folder):
    found, errors = search(definition)
    assert found == []
    assert any(words in error for error in errors)


def test_stated_roles_are_used(log_folder):
    definition = {"rate": ranged("uniform", 0.0001, 1), "x": choice(1, 2)}
    manager = Manager(
        DreamTuner(
            seed=0, strategy="static", roles={"rate": "learning_rate"}, initial_parameters=[{"rate": 0.5, "x": 1}]
        )
    )
    manager.initialize(definition)
    (record,) = manager.request()
    for epoch in range(4):  # slow: the paper's table then asks for another learning rate
        manager.intermediate("job", record["parameter_id"], epoch, 0.5)
    manager.final("job", record["parameter_id"], 0.5)
    (repaired,) = manager.request()
    assert repaired["parameters"] == {"rate": 0.01, "x": 1}


def test_a_stated_architecture_is_part_of_the_condition(log_folder):
    tuner = DreamTuner(
        seed=0, strategy="static", roles={"kind": "architecture"}, initial_parameters=[{"kind": "resnet18"}]
    )
    manager = Manager(tuner)
    manager.initialize({"kind": choice("resnet18", "vgg16"), "x": choice(1, 2)})
    (record,) = manager.request()
    manager.final("job", record["parameter_id"], 0.5)
    manager.request()
    repair = [event for event in read_journal(log_folder / JOURNAL_NAME) if event["event"] == "suggestion"][1]
    assert repair["condition"] == "RA-*-*-*"


@pytest.mark.parametrize(
    ("roles", "words"),
    [({"rtae": "learning_rate"}, "no parameter is called 'rtae'"), ({"rate": "lr"}, "unknown role 'lr'")],
)
def test_wrong_roles_end_the_experiment_with_the_reason(roles, words, log_folder):
    found, errors = search({"rate": ranged("uniform", 0.0001, 1)}, roles=roles)
    assert found == []
    assert any(words in error for error in errors)


# --- spaces that Hypothesis makes up

ANY_NAMES = st.one_of(st.sampled_from(["lr", "optimizer", "model", "a.b"]), st.text(max_size=5)).filter(
    lambda name: name != "_name"
)
ANY_SPACES = st.one_of(
    definitions(st.one_of(FINITE_SPECS, CONTINUOUS_SPECS)),
    st.dictionaries(ANY_NAMES, st.one_of(FINITE_SPECS, CONTINUOUS_SPECS), min_size=1, max_size=4),
)


@settings(max_examples=40, deadline=None)
@given(ANY_SPACES)
def test_a_generated_space_is_searched(definition):
    with (
        patch.object(msg_dispatcher, "_next_parameter_id", 0),
        patch.object(msg_dispatcher, "_trial_params", {}),
        patch.object(msg_dispatcher, "_trial_history", defaultdict(dict)),
        patch.object(msg_dispatcher, "_ended_trials", set()),
    ):
        found, errors = search(definition, 12)
    assert errors == []
    assert [reason for each in found if (reason := reason_outside(definition, each)) is not None] == []
    assert len(set(map(identity, found))) == len(found)
    assert len(found) == min(12, n_in(definition)) or not has_certain_values(definition)


def has_certain_values(definition):
    """Whether no normal type with a step is there: it may hold so few likely values that the search gives up."""
    return "qnormal" not in json.dumps(definition) and "qlognormal" not in json.dumps(definition)
