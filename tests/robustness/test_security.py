"""What the sources may not contain, and what a hostile metric or a stranger on the network cannot do."""

from __future__ import annotations

import ast
import base64
import json
import os
import pickle
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests
from e2e.experiment import BIN, REPOSITORY, own_environment, processes_of, write_config
from nni.experiment import ExperimentConfig
from waiting import wait_until

import nni_dream
from nni_dream.exposure import EARLIER_NODE_OPTIONS, NODE_OPTIONS, Exposure, exposure_of, listening_as
from nni_dream.feedback import TrialFeedback, final_metric
from nni_dream.journal import JOURNAL_NAME, Journal

PACKAGE = Path(nni_dream.__file__).parent
SOURCES = sorted(path for folder in (PACKAGE, REPOSITORY / "benchmarks") for path in folder.rglob("*.py"))

# --- the sources

FOREIGN_CODE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
EVALUATORS = {"eval", "exec", "compile", "__import__"}
UNPICKLERS = {"pickle.load", "pickle.loads", "pickle.Unpickler"}
MAY_IMPORT_PICKLE = {
    "nni_dream/automl/data/cifar.py",  # reads published pickles, through a class that lets nothing but arrays through
}
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}


def dotted(node):
    """``os.path.join`` of a call's function; the empty text for what has no such name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def is_constant(node, value):
    return isinstance(node, ast.Constant) and node.value is value


def wrong_imports(node):
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or ""]
    else:
        names = []
    return [f"imports {name}" for name in names if name.split(".")[0] in FOREIGN_CODE]


def wrong_calls(node):
    if not isinstance(node, ast.Call):
        return []
    name = dotted(node.func)
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    problems = []
    if name in EVALUATORS | SHELLS | UNPICKLERS or name == "tempfile.mktemp":
        problems.append(name)
    if "shell" in keywords:
        problems.append(f"{name}(shell=...)")
    if name == "torch.load" and not is_constant(keywords.get("weights_only"), True):
        problems.append("torch.load without weights_only=True")
    if name in {"yaml.load", "yaml.unsafe_load", "yaml.full_load"}:
        problems.append(name)
    if name in {"np.load", "numpy.load"} and not is_constant(keywords.get("allow_pickle"), False):
        problems.append(f"{name} without allow_pickle=False")
    return problems


def unguarded_classes(node):
    """An unpickler of our own that does not choose what it lets through."""
    if not isinstance(node, ast.ClassDef) or "pickle.Unpickler" not in map(dotted, node.bases):
        return []
    methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    return [] if "find_class" in methods else [f"{node.name} has no find_class of its own"]


def problems_of(source, may_import_pickle=False):
    problems = []
    for node in ast.walk(ast.parse(source)):
        problems += [] if may_import_pickle else wrong_imports(node)
        problems += [*wrong_calls(node), *unguarded_classes(node)]
    return problems


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from dill import loads",
        "import joblib.memory",
        "eval(text)",
        "exec(text)",
        "os.system(text)",
        "os.popen(text)",
        "subprocess.run(text, shell=True)",
        "subprocess.Popen(text, shell=flag)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "yaml.load(text)",
        "tempfile.mktemp()",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
    ],
)
def test_the_reader_of_sources_sees(source):
    assert problems_of(source) != []


@pytest.mark.parametrize(
    "source",
    [
        "import json",
        "re.compile(text)",
        "model.eval()",
        "torch.load(path, weights_only=True)",
        "yaml.safe_load(text)",
        "np.load(path, allow_pickle=False)",
    ],
)
def test_the_reader_of_sources_passes_over(source):
    assert problems_of(source) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_source_runs_foreign_code(path):
    may_import_pickle = path.relative_to(REPOSITORY).as_posix() in MAY_IMPORT_PICKLE
    assert problems_of(path.read_text(encoding="utf-8"), may_import_pickle=may_import_pickle) == []


@pytest.mark.parametrize(
    "source",
    ["pickle.load(file)", "pickle.loads(data)", "pickle.Unpickler(file)", "class Reader(pickle.Unpickler):\n    pass"],
)
def test_even_a_source_that_may_import_pickle_may_not(source):
    assert problems_of(source, may_import_pickle=True) != []


def test_a_guarded_unpickler_is_passed_over():
    source = "class Reader(pickle.Unpickler):\n    def find_class(self, module, name): ..."
    assert problems_of(source, may_import_pickle=True) == []


# --- files

DRAFTS = {"draft"}  # what a file is called before it replaces the one that was there
WRITE_IN_A_FOLDER_OF_THEIR_OWN = {
    "nni_dream/automl/data/origins.py",  # a temporary folder; what is whole is moved out of it
    "nni_dream/automl/exported_files.py",  # the draft of a folder, which exporting.py renames
    "nni_dream/own_commands.py",  # a temporary folder
}


def root_name(node):
    """``draft`` of ``draft / "name"``, ``draft.path`` and ``draft``; None for anything that begins otherwise."""
    while isinstance(node, ast.BinOp | ast.Attribute):
        node = node.left if isinstance(node, ast.BinOp) else node.value
    return node.id if isinstance(node, ast.Name) else None


def opens_for_writing(call):
    mode = next((each.value for each in call.keywords if each.arg == "mode"), call.args[-1] if call.args else None)
    return isinstance(mode, ast.Constant) and str(mode.value).startswith(("w", "x"))


def written_in_place(source):
    """The calls that write a file under its final name, where a reader would find half of it."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = dotted(call.func).rpartition(".")[2] or getattr(call.func, "attr", "")
        target = None
        if name in {"write_text", "write_bytes"} or (name == "open" and opens_for_writing(call)):
            target = call.func.value if isinstance(call.func, ast.Attribute) else call.args[0]
        elif name in {"savefig", "save_file"}:
            target = call.args[-1]
        if target is not None and root_name(target) not in DRAFTS:
            found.append(ast.unparse(call))
    return found


@pytest.mark.parametrize(
    "source",
    [
        "path.write_text(text)",
        "(folder / name).write_bytes(data)",
        "Path(name).write_text(text)",
        "open(path, 'w')",
        "path.open('wb')",
        "path.open(mode='x')",
        "figure.savefig(path)",
        "save_file(tensors, path)",
    ],
)
def test_a_file_written_in_place_is_seen(source):
    assert written_in_place(source) != []


@pytest.mark.parametrize(
    "source",
    ["draft.write_text(text)", "(draft / name).write_bytes(data)", "draft.open('wb')", "path.open('a')", "open(path)"],
)
def test_a_draft_may_be_written(source):
    assert written_in_place(source) == []


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(REPOSITORY).as_posix() not in WRITE_IN_A_FOLDER_OF_THEIR_OWN
    ],
    ids=lambda path: str(path.relative_to(REPOSITORY)),
)
def test_a_file_is_replaced_as_a_whole(path):
    assert written_in_place(path.read_text(encoding="utf-8")) == []


@contextmanager
def umask(mask):
    earlier = os.umask(mask)
    try:
        yield
    finally:
        os.umask(earlier)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077], ids=oct)
def test_the_journal_is_private_whatever_the_umask(tmp_path, mask):
    with umask(mask):
        Journal(tmp_path).append("start", seed=1)
    assert (tmp_path / JOURNAL_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mask", [0o022, 0o077], ids=oct)
def test_nobody_else_may_write_what_a_trial_leaves(tmp_path, monkeypatch, mask):
    from nni.runtime import env_vars

    from nni_dream import reporting

    environment = env_vars.trial_env_vars._replace(NNI_OUTPUT_DIR=str(tmp_path / "output"))
    monkeypatch.setattr(env_vars, "trial_env_vars", environment)
    with umask(mask):
        reporting._keep_copy({"default": 0.5})
    assert (tmp_path / "output" / reporting.FEEDBACK_FILE).stat().st_mode & 0o022 == 0
    assert (tmp_path / "output").stat().st_mode & 0o022 == 0


# --- hostile metrics

# Drives NNI's dispatcher with the metrics given as argument, and prints what it opened for writing, started or removed.
WATCHED_DISPATCHER = """
import json, os, sys
from dispatcher import Manager
from nni_dream.assessor import DreamAssessor
from nni_dream.tuner import DreamTuner

happened = []
WATCHED = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class", "os.rename", "os.remove",
           "os.mkdir", "os.symlink", "os.link", "os.chmod", "exec", "socket.connect"}

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if isinstance(path, str) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            happened.append([event, str(path)])
    elif event in WATCHED:
        happened.append([event, repr(arguments)])

manager = Manager(DreamTuner(seed=1), DreamAssessor())
manager.initialize({"learning_rate": {"_type": "choice", "_value": [0.1, 0.01]},
                    "width": {"_type": "randint", "_value": [1, 100]}})
hostile = json.loads(sys.argv[1])
manager.request(1)
manager.final("warm-up", 0, 0.5)
manager.end("warm-up", 0)
sys.addaudithook(watch)
for index, metric in enumerate(hostile, start=1):
    record = manager.request(1)[0]
    manager.intermediate(f"job{index}", record["parameter_id"], 0, metric)
    manager.final(f"job{index}", record["parameter_id"], metric)
    manager.end(f"job{index}", record["parameter_id"])
seen = list(happened)
print(json.dumps(seen))
"""

PATHS = ["../../outside", "/tmp/outside", "~/outside", "$(touch outside)", "; touch outside #", "`touch outside`", "\0"]


def hostile_metrics():
    """Paths, shell text and code where a metric has room for text, well-formed and not."""
    metrics = []
    for text in (*PATHS, "__import__('os').system('touch outside')", "!!python/object/apply:os.system [ls]"):
        feedback = TrialFeedback(parameters={"learning_rate": 0.1, text: text, "output": text})
        metrics.append(final_metric(feedback, 0.5, None))
        metrics.append({"default": 0.5, "dream": text})
        metrics.append({"default": 0.5, "path": text, text: 1.0})
    return metrics


def test_a_hostile_metric_reaches_no_file_but_the_journal(tmp_path):
    environment = own_environment(tmp_path) | {"NNI_LOG_DIRECTORY": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = str(REPOSITORY / "tests")
    metrics = hostile_metrics() + [{"default": 0.5, "payload": payload} for payload in executable_payloads()]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED_DISPATCHER, json.dumps(metrics)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,  # a busy machine needs its time
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events = json.loads(done.stdout.splitlines()[-1])
    written = {path for event, path in events if event == "open"}
    assert written == {str(tmp_path / JOURNAL_NAME)}
    assert [event for event in events if event[0] != "open"] == []
    assert not list(tmp_path.rglob("outside"))


class Bomb:
    """Unpickled, it makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("outside",)


def executable_payloads():
    """What NNI's own decoder runs: a call by name, a pickle of an object, a pickle of a function's name."""
    pickled = base64.b64encode(pickle.dumps(Bomb())).decode()
    return [
        {"__symbol__": "path:os.mkdir", "__args__": ["outside"]},
        {"__nni_obj__": pickled},
        {"__nni_type__": f"bytes:{pickled}"},
        {"__symbol__": f"bytes:{pickled}"},
        {"__instance_type__": f"bytes:{pickled}"},
        {"__instance_type__": ["posixpath", "join"], "attributes": {}},
    ]


DISPATCHER = """
import json, sys
import nni.runtime.msg_dispatcher
from dispatcher import Manager
if sys.argv[2] == "Dream":
    from nni_dream.tuner import DreamTuner as Tuner
else:
    from nni.algorithms.hpo.random_tuner import RandomTuner as Tuner
manager = Manager(Tuner(seed=1))
manager.initialize({"x": {"_type": "uniform", "_value": [0, 1]}})
record = manager.request(1)[0]
data = {"parameter_id": 0, "trial_job_id": "a", "type": "FINAL", "sequence": 0, "value": sys.argv[1]}
manager.dispatcher.process_command(nni.runtime.msg_dispatcher.CommandType.ReportMetricData, data)
"""


def report(folder, tuner, text):
    """Let a dispatcher take one final result, in a process of its own."""
    environment = own_environment(folder) | {"PYTHONPATH": str(REPOSITORY / "tests")}
    return subprocess.run(
        [sys.executable, "-c", DISPATCHER, text, tuner],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,  # a busy machine needs its time
        check=False,
    )


def test_nni_by_itself_runs_what_a_metric_names(tmp_path):
    """Why the tuner changes the reader: if this fails, NNI has mended it."""
    report(tmp_path, "Random", json.dumps({"default": 0.5, "payload": executable_payloads()[0]}))
    assert (tmp_path / "outside").is_dir()


@pytest.mark.parametrize("payload", executable_payloads(), ids=lambda payload: next(iter(payload)))
def test_our_dispatcher_runs_nothing_that_a_metric_names(tmp_path, payload):
    done = report(tmp_path, "Dream", json.dumps({"default": 0.5, "payload": payload}))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "outside").exists()


# --- NNI's manager


MACHINE = {"host": "192.0.2.11", "user": "alice", "password": "secret"}
LOCAL = {"platform": "local"}
REMOTE = {"platform": "remote", "machineList": [MACHINE]}


def experiment(service, **fields):
    return ExperimentConfig(
        searchSpace={"x": {"_type": "uniform", "_value": [0, 1]}},
        trialCommand="python3 trial.py",
        trialConcurrency=1,
        tuner={"name": "Dream"},
        trainingService=service,
        **fields,
    )


@pytest.mark.parametrize(
    ("service", "fields", "is_loopback_only"),
    [
        (LOCAL, {}, True),
        (LOCAL, {"nniManagerIp": "192.0.2.1"}, True),
        (REMOTE | {"nniManagerIp": "127.0.0.1"}, {}, True),
        (REMOTE, {"nniManagerIp": "localhost"}, True),
        (REMOTE, {}, False),
        (REMOTE, {"nniManagerIp": "192.0.2.1"}, False),
        (REMOTE | {"nniManagerIp": "192.0.2.1"}, {"nniManagerIp": "127.0.0.1"}, False),  # the service's own goes first
        ([LOCAL, REMOTE], {"nniManagerIp": "192.0.2.1"}, False),
    ],
)
def test_the_manager_is_open_only_where_its_trials_need_it(service, fields, is_loopback_only):
    exposure = exposure_of(experiment(service, **fields))
    assert exposure.is_loopback_only is is_loopback_only
    assert (exposure.url_prefix is None) is is_loopback_only


def test_an_open_manager_has_an_address_that_nobody_guesses():
    one, other = exposure_of(experiment(REMOTE)), exposure_of(experiment(REMOTE))
    assert one.url_prefix != other.url_prefix
    assert re.fullmatch("[0-9a-f]{32}", one.url_prefix)
    assert one.address(8080) == f"http://localhost:8080/{one.url_prefix}"
    assert "answers other machines on port 8080" in one.warning(8080)
    assert "asks for no login" in one.warning(8080)


def test_a_local_manager_has_the_plain_address():
    exposure = exposure_of(experiment(LOCAL))
    assert exposure.address(8080) == "http://localhost:8080"
    assert "this machine only" in exposure.warning(8080)
    assert "every user of this machine" in exposure.warning(8080)


@pytest.mark.parametrize("earlier", [None, "--max-http-header-size=20000"])
def test_the_environment_is_put_back(monkeypatch, earlier):
    monkeypatch.delenv(NODE_OPTIONS, raising=False)
    if earlier is not None:
        monkeypatch.setenv(NODE_OPTIONS, earlier)
    before = dict(os.environ)
    with listening_as(Exposure(is_loopback_only=True)):
        assert os.environ[NODE_OPTIONS].startswith(earlier or "--require")
        assert os.environ[EARLIER_NODE_OPTIONS] == (earlier or "")
    assert dict(os.environ) == before


def test_the_environment_is_put_back_when_the_start_fails():
    before = dict(os.environ)
    with pytest.raises(RuntimeError), listening_as(Exposure(is_loopback_only=True)):
        raise RuntimeError("NNI did not start")
    assert dict(os.environ) == before


def test_an_open_manager_gets_no_preload():
    before = dict(os.environ)
    with listening_as(Exposure(is_loopback_only=False, url_prefix="x")):
        assert dict(os.environ) == before


def own_addresses():
    """This machine's addresses besides 127.0.0.1."""
    found = [address.address for each in psutil.net_if_addrs().values() for address in each if address.family == 2]
    return ["127.0.0.2", *(address for address in found if address != "127.0.0.1")]


def connects(address, port):
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((address, port)) == 0


@pytest.mark.e2e
def test_a_running_manager_answers_on_the_loopback_address_only(tmp_path):
    trial = tmp_path / "code" / "environment.py"
    trial.parent.mkdir()
    trial.write_text(
        "import json, os, pathlib, nni\nnni.get_next_parameter()\n"
        "names = ('NODE_OPTIONS', 'NNI_DREAM_NODE_OPTIONS')\n"
        "path = pathlib.Path(os.environ['NNI_OUTPUT_DIR'], 'environment.json')\n"
        "path.with_suffix('.draft').write_text(json.dumps({name: os.environ.get(name) for name in names}))\n"
        "path.with_suffix('.draft').rename(path)\n"
        "import threading; threading.Event().wait(100)\n"
    )
    config = write_config(tmp_path, trialCommand="python3 environment.py", trialCodeDirectory=str(trial.parent))
    environment = own_environment(tmp_path) | {NODE_OPTIONS: "--max-http-header-size=20000"}
    process = subprocess.Popen(
        [BIN / "nni-dream", "run", config],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        line = process.stdout.readline()
        port = int(re.search(r"web page http://localhost:(\d+)$", line)[1])
        assert "this machine only" in process.stdout.readline()
        assert connects("127.0.0.1", port)
        assert requests.get(f"http://localhost:{port}/api/v1/nni/check-status", timeout=20).ok
        assert [address for address in own_addresses() if connects(address, port)] == []
        wait_until(lambda: list(tmp_path.glob("experiments/*/environments/**/environment.json")), "the first trial")
        (found, *_) = tmp_path.glob("experiments/*/environments/**/environment.json")
        # The trial has the user's own Node options, and nothing of ours.
        assert json.loads(found.read_text()) == {
            "NODE_OPTIONS": "--max-http-header-size=20000",
            "NNI_DREAM_NODE_OPTIONS": None,
        }
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert processes_of(tmp_path) == []
