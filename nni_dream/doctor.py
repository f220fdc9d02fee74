"""``nni-dream doctor``: what in this installation NNI will stumble over, and how to mend it.

Each check is a function of what it looks at, so that a test can show it both states; :func:`examine` hands them this
machine.  Nothing here imports NNI before it is known to be there.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import psutil

from nni_dream.experiment_paths import DEFAULT_WORKING_DIRECTORY
from nni_dream.proxies import LOCAL_HOSTS, has_exception, proxy_variables

__all__ = [
    "Finding",
    "Level",
    "check_disk",
    "check_dispatcher",
    "check_experiments",
    "check_folder",
    "check_localhost",
    "check_nni",
    "check_node",
    "check_port",
    "check_proxies",
    "check_python",
    "check_registry",
    "check_setuptools",
    "check_torchvision",
    "examine",
]

NNI_VERSION: Final = "3.0"
FIRST_PYTHON: Final = (3, 10)
LAST_PYTHON: Final = (3, 13)  # the last that NNI 3.0 was seen to work on
NNI_PORT: Final = 8080  # what nnictl takes unless told otherwise
LITTLE_DISK_BYTES: Final = 2 * 10**9  # an experiment with models and logs
NO_DISK_BYTES: Final = 10**8  # NNI's database and logs alone
CONNECT_SECONDS: Final = 10.0  # NNI waits so long for a tuner
SLOW_START_SECONDS: Final = 5.0
PROBE_SECONDS: Final = 120.0  # for a program of a check to answer; importing torch from a cold disk takes long
TIMED_OUT: Final = 124  # exit code of such a program, as timeout(1) has it
SLOW_START_REMEDY: Final = "install Python's packages on a local disk; let less run beside it"
REINSTALL_REMEDY: Final = (  # no package index has it
    "reinstall it from its checkout: pip install --force-reinstall --no-deps /path/to/checkout"
)
MISSING_OPERATOR: Final = "operator torchvision::"


class Level(str, Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # some way of working fails, or will
    PROBLEM = "problem"  # no search runs


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    check: str
    level: Level
    text: str
    remedy: str | None = None  # what to do; for everything that is not ok


def examine() -> Iterator[Finding]:
    """Yield the findings about this Python environment, this user and this machine, in the order of the checks."""
    home = Path.home()
    yield check_python(sys.version_info[:2])
    nni_version = _installed_version("nni")
    yield check_nni(nni_version)
    if nni_version is not None:
        yield check_node(_nni_node())
        yield check_dispatcher(sys.executable)
        yield check_registry(_is_registered)
    yield check_setuptools(importlib.util.find_spec("pkg_resources") is not None, _installed_version("setuptools"))
    yield check_torchvision(sys.executable)
    yield check_proxies(os.environ)
    yield check_localhost("localhost")
    yield check_port(NNI_PORT)
    yield check_folder("home", home)
    yield check_experiments(home / DEFAULT_WORKING_DIRECTORY.name / ".experiment")
    if home.exists():
        yield check_disk(shutil.disk_usage(home).free)


def check_python(python: tuple[int, int]) -> Finding:
    """Python 3.10 to 3.13."""
    text = f"{python[0]}.{python[1]}"
    wanted = f"use Python {'.'.join(map(str, FIRST_PYTHON))} to {'.'.join(map(str, LAST_PYTHON))}"
    if python < FIRST_PYTHON:
        return Finding("python", Level.PROBLEM, f"{text} is too old", wanted)
    if python > LAST_PYTHON:
        return Finding("python", Level.WARNING, f"{text} is newer than what NNI was tried on", wanted)
    return Finding("python", Level.OK, text)


def check_nni(installed: str | None) -> Finding:
    """The one release that this package knows the defects of."""
    if installed is None:
        return Finding("nni", Level.PROBLEM, "not installed", f"pip install nni=={NNI_VERSION}")
    if installed != NNI_VERSION:
        return Finding("nni", Level.PROBLEM, f"{installed}, not {NNI_VERSION}", f"pip install nni=={NNI_VERSION}")
    return Finding("nni", Level.OK, installed)


def check_node(node: Path | None) -> Finding:
    """NNI's manager is a Node program, and brings its own Node."""
    remedy = "reinstall nni on a glibc Linux (x86-64), macOS or Windows: pip install --force-reinstall --no-deps nni"
    if node is None or not node.exists():
        return Finding("manager", Level.PROBLEM, f"NNI's Node is not at {node}", remedy)
    try:
        done = _run([str(node), "--version"])
    except OSError as error:
        return Finding("manager", Level.PROBLEM, f"NNI's Node does not start: {error}", remedy)
    if done.returncode != 0:
        return Finding("manager", Level.PROBLEM, f"NNI's Node does not start: {_last_line(done.stderr)}", remedy)
    return Finding("manager", Level.OK, f"Node {done.stdout.strip()}")


def check_dispatcher(python: str) -> Finding:
    """NNI gives a tuner ten seconds from its start to its connection."""
    code = "import time; t = time.perf_counter(); import nni_dream.tuner; print(time.perf_counter() - t)"
    done = _run([python, "-c", code])
    if done.returncode != 0:
        text = f"the tuner cannot be imported: {_last_line(done.stderr)}"
        is_slow = done.returncode == TIMED_OUT
        remedy = SLOW_START_REMEDY if is_slow else REINSTALL_REMEDY
        return Finding("dispatcher", Level.PROBLEM, text, remedy)
    seconds = float(done.stdout.split()[-1])
    text = f"the tuner is imported in {seconds:.1f} s; NNI waits {CONNECT_SECONDS:.0f} s for it"
    if seconds >= SLOW_START_SECONDS:
        level = Level.PROBLEM if seconds >= CONNECT_SECONDS else Level.WARNING
        return Finding("dispatcher", level, text, SLOW_START_REMEDY)
    return Finding("dispatcher", Level.OK, text)


def check_registry(is_registered: Callable[[], bool]) -> Finding:
    """Whether NNI knows our names; reading its registry creates it, so that a folder without write access shows."""
    try:
        if is_registered():
            return Finding("registration", Level.OK, "NNI knows Dream and DreamAssessor")
    except OSError as error:
        text = f"NNI's registry cannot be written: {error}"
        return Finding("registration", Level.PROBLEM, text, "set NNI_CONFIG_DIR to a folder that you may write")
    text = "NNI does not know Dream and DreamAssessor; `nni-dream run` registers them by itself, nnictl does not"
    return Finding("registration", Level.WARNING, text, "nni-dream register")


def check_setuptools(has_pkg_resources: bool, installed: str | None) -> Finding:
    """Only nnictl needs ``pkg_resources``, which setuptools 82 dropped."""
    if has_pkg_resources:
        return Finding("nnictl", Level.OK, f"setuptools {installed} has pkg_resources")
    found = "there is no setuptools" if installed is None else f"setuptools {installed} has no pkg_resources"
    text = f"nnictl does not start: {found}; `nni-dream run` does without"
    return Finding("nnictl", Level.WARNING, text, 'pip install "setuptools<81"')


def check_torchvision(python: str) -> Finding:
    """A torchvision that was built for another torch fails at its import."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("torchvision") is None:
        return Finding("torchvision", Level.OK, "torch or torchvision is not installed; only trials would need them")
    done = _run([python, "-c", "import torch, torchvision; print(torch.__version__, torchvision.__version__)"])
    if done.returncode == 0:
        return Finding("torchvision", Level.OK, "torch {} with torchvision {}".format(*done.stdout.split()))
    error = _last_line(done.stderr)
    if MISSING_OPERATOR in error:
        remedy = (
            "install the torchvision that was built for this torch (same package index, same CUDA or CPU), or call "
            "nni_dream.torchvision_compatibility.ensure_torchvision() before the import"
        )
    else:
        remedy = "reinstall torch and torchvision together: pip install --force-reinstall torch torchvision"
    return Finding("torchvision", Level.WARNING, f"cannot be imported: {error}", remedy)


def check_proxies(environment: Mapping[str, str]) -> Finding:
    """A proxy between the manager, its dispatcher and its clients, all on this machine, cuts them off."""
    proxies = ", ".join(proxy_variables(environment))
    if not proxies:
        return Finding("proxy", Level.OK, "none is set")
    if has_exception(environment):
        return Finding("proxy", Level.OK, f"{proxies} with an exception for this machine")
    text = f"{proxies} without no_proxy for this machine: the parts of NNI cannot reach each other"
    remedy = f"export no_proxy={','.join(LOCAL_HOSTS)} (`nni-dream run` does so by itself)"
    return Finding("proxy", Level.WARNING, text, remedy)


def check_localhost(name: str) -> Finding:
    """All parts of NNI on this machine find each other by this name, and the manager listens on 127.0.0.1."""
    remedy = "let /etc/hosts say: 127.0.0.1 localhost"
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(name, None)}
    except OSError as error:
        return Finding("localhost", Level.PROBLEM, f"{name} has no address: {error}", remedy)
    if "127.0.0.1" not in addresses:
        return Finding("localhost", Level.PROBLEM, f"{name} is {', '.join(sorted(addresses))}, not 127.0.0.1", remedy)
    return Finding("localhost", Level.OK, "127.0.0.1")


def check_port(port: int) -> Finding:
    """The port that nnictl takes; ``nni-dream run`` looks for a free one."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            return Finding("port", Level.OK, f"{port} is free")
    text = f"{port}, which nnictl takes, is in use; `nni-dream run` takes a free one"
    return Finding("port", Level.WARNING, text, "nnictl create --port <another>")


def check_folder(name: str, folder: Path) -> Finding:
    """Whether NNI can write there: it keeps experiments in the home folder unless told otherwise."""
    draft = folder / f".nni_dream_doctor_{os.getpid()}"
    try:
        draft.touch(mode=0o600, exist_ok=False)
        draft.unlink()
    except OSError as error:
        remedy = "set HOME to a folder that you may write"
        return Finding(name, Level.PROBLEM, f"{folder} cannot be written: {error.strerror}", remedy)
    return Finding(name, Level.OK, f"{folder} can be written")


def check_experiments(list_file: Path) -> Finding:
    """Experiments that NNI's list holds for running although their manager is gone."""
    try:
        experiments = json.loads(list_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Finding("experiments", Level.OK, "there are none")
    except (OSError, ValueError) as error:
        text = f"NNI's list cannot be read: {error}"
        return Finding("experiments", Level.WARNING, text, f"move {list_file} away: NNI begins a new one")
    stale = [name for name, entry in experiments.items() if _is_stale(entry)]
    if not stale:
        return Finding("experiments", Level.OK, f"{len(experiments)} in NNI's list, none without its manager")
    text = f"the manager is gone, but NNI's list says otherwise: {', '.join(stale)}"
    remedy = f"nnictl stop <id> for each (never --all, which stops those of others), or edit {list_file}"
    return Finding("experiments", Level.WARNING, text, remedy)


def check_disk(free_bytes: int) -> Finding:
    """Room for experiments in the home folder."""
    text = f"{free_bytes / 1e9:.1f} GB free"
    remedy = "make room, or let experimentWorkingDirectory name a folder on a larger disk"
    if free_bytes < NO_DISK_BYTES:
        return Finding("disk", Level.PROBLEM, text, remedy)
    if free_bytes < LITTLE_DISK_BYTES:
        return Finding("disk", Level.WARNING, text, remedy)
    return Finding("disk", Level.OK, text)


def _is_stale(entry: Mapping[str, object]) -> bool:
    if entry.get("status") == "STOPPED":
        return False
    pid = entry.get("pid")
    if not isinstance(pid, int):
        return False
    try:
        return "node" not in psutil.Process(pid).name()  # the number may be another program's by now
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _nni_node() -> Path | None:
    spec = importlib.util.find_spec("nni_node")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0], "node.exe" if sys.platform == "win32" else "node")


def _is_registered() -> bool:
    from nni_dream.registration import is_registered

    return is_registered()


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, TIMED_OUT, "", f"no answer within {PROBE_SECONDS:.0f} s")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"
