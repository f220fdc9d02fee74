"""Which module may know which: the edges are a rule, and a module without a layer is an error."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nni_dream

PACKAGE = Path(nni_dream.__file__).parent

# What each layer is made of: modules and packages of nni_dream, without the prefix.
LAYERS = {
    "package": [""],
    "feedback": ["feedback"],
    "config": ["config"],
    "json_lines": ["json_lines"],
    "job_statuses": ["job_statuses"],
    "journal": ["journal"],
    "callbacks": ["callbacks"],
    "manager": ["manager"],
    "plain_messages": ["plain_messages"],
    "own_commands": ["own_commands"],
    "search": ["search"],
    "trials": ["trials", "records", "malformed"],
    "outcomes": ["outcomes", "hidden_messages"],
    "resume": ["resume"],
    "suggester": ["suggester"],
    "host": ["tuner", "assessor"],
    "reporting": ["reporting"],
    "monitor": [
        "monitor",
        "gradient_sampling",
        "layer_numbers",
        "measured_weights",
        "tensor_statistics",
        "weight_updates",
    ],
    "priority_building": ["priority_building"],
    "torchvision_compatibility": ["torchvision_compatibility"],
    "automl": ["automl"],
    "integrations": ["integrations"],
    "experiments": ["experiments", "experiment_files", "experiment_paths", "exposure", "proxies", "registration"],
    "front": ["report", "experiment_folders", "doctor", "own_trials", "space_files"],
    "cli": ["cli"],
}
EVERY_LAYER_BUT_CLI = set(LAYERS) - {"cli"}
ALLOWED = {
    "package": set(),
    "feedback": set(),
    "config": {"feedback"},
    "json_lines": set(),
    "job_statuses": set(),
    "journal": {"feedback", "json_lines"},
    "callbacks": set(),
    "manager": {"job_statuses"},
    "plain_messages": set(),
    "own_commands": {"feedback"},
    "search": {"search", "feedback", "config"},
    "trials": {"trials", "search", "feedback", "config", "journal"},
    "outcomes": {"trials", "search", "feedback", "config", "job_statuses"},
    "resume": {"trials", "search", "feedback", "journal", "package"},
    "suggester": {"trials", "search", "feedback", "config"},
    "host": {
        "suggester",
        "outcomes",
        "resume",
        "trials",
        "search",
        "feedback",
        "config",
        "callbacks",
        "manager",
        "plain_messages",
        "own_commands",
        "package",
    },
    "priority_building": {
        "priority_building",
        "trials",
        "search",
        "feedback",
        "config",
        "callbacks",
        "json_lines",
        "manager",
        "plain_messages",
    },
    "reporting": {"feedback"},
    "monitor": {"monitor", "feedback", "reporting"},
    "torchvision_compatibility": set(),
    "automl": {"automl", "monitor", "feedback", "reporting", "torchvision_compatibility"},
    "integrations": {"integrations", "monitor", "feedback", "torchvision_compatibility"},
    "experiments": {"experiments", "feedback", "job_statuses", "journal"},
    "front": EVERY_LAYER_BUT_CLI,
    "cli": set(LAYERS),
}
TORCH_LAYERS = {"monitor", "torchvision_compatibility", "automl", "integrations"}


def module_name(path):
    """``search.space`` for nni_dream/search/space.py; the package itself is the empty name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def layer_of(module):
    top = module.split(".")[0]
    return next((layer for layer, members in LAYERS.items() if top in members), None)


def imported_names(source):
    """Every absolute name that a source imports, at any depth and for type checkers too."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return names


def own_modules(names):
    """The modules of nni_dream among imported names, without the prefix."""
    for name in names:
        top, *rest = name.split(".")
        if top != "nni_dream":
            continue
        while rest and ".".join(rest) not in MODULES:  # the last part is a function or a class
            rest.pop()
        yield ".".join(rest)


def test_the_reader_of_imports_sees_every_form():
    source = (
        "import torch.nn as nn\nfrom nni_dream import __version__\nfrom nni_dream.search import space\n"
        "def f():\n    from nni_dream.config import Thresholds\nfrom . import x\n"
        "from nni_dream.report.plot import plot_search\n"
    )
    names = imported_names(source)
    assert {"torch.nn", "..x"} <= names
    assert set(own_modules(names)) == {"", "search.space", "config", "report.plot"}


@pytest.mark.parametrize("module", MODULES, ids=lambda name: name or "nni_dream")
def test_every_module_has_a_layer(module):
    assert layer_of(module) is not None, f"{module} is in no layer of {Path(__file__).name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda name: name or "nni_dream")
def test_imports_follow_the_layers(module):
    names = imported_names(MODULES[module].read_text(encoding="utf-8"))
    assert [name for name in names if name.startswith(".")] == [], "relative imports hide which module is meant"
    allowed = ALLOWED[layer_of(module)]
    wrong = sorted(f"{module} -> {other}" for other in own_modules(names) if layer_of(other) not in allowed)
    assert wrong == []


def listed_names(module):
    """What a module's ``__all__`` lists; ``None`` where it has none."""
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return None


@pytest.mark.parametrize("module", MODULES, ids=lambda name: name or "nni_dream")
def test_what_another_module_imports_is_listed_there(module):
    for name in imported_names(MODULES[module].read_text(encoding="utf-8")):
        own = name.removeprefix("nni_dream.")
        home, _, imported = own.rpartition(".")
        if own != name and home in MODULES and own not in MODULES:
            listed = listed_names(home)
            assert listed is None or imported in listed, f"{module} imports {imported}, which {home} does not list"


@pytest.mark.parametrize("module", MODULES, ids=lambda name: name or "nni_dream")
def test_torch_is_imported_only_where_it_is_measured_or_trained(module):
    tops = {name.split(".")[0] for name in imported_names(MODULES[module].read_text(encoding="utf-8"))}
    assert layer_of(module) in TORCH_LAYERS or not tops & {"torch", "torchvision", "timm"}


def test_the_layers_that_the_front_uses_do_not_know_it():
    assert [layer for layer, allowed in ALLOWED.items() if "cli" in allowed] == ["cli"]


def modules_after(statement):
    code = f"import sys; {statement}; print(*sorted(name.split('.')[0] for name in sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(answer.stdout.split())


def test_the_dispatcher_starts_without_torch():
    """NNI gives a tuner ten seconds to connect."""
    loaded = modules_after("import nni_dream.tuner, nni_dream.assessor")
    assert "nni_dream" in loaded
    assert not loaded & {"torch", "torchvision", "matplotlib"}


def test_the_command_line_starts_without_torch_and_nni():
    assert not modules_after("import nni_dream.cli") & {"torch", "nni", "matplotlib"}
