"""``nni-dream doctor``: each trap in both states, with the real thing where this machine can have it."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nni_dream import cli, doctor
from nni_dream.doctor import (
    Finding,
    Level,
    check_disk,
    check_dispatcher,
    check_experiments,
    check_folder,
    check_localhost,
    check_nni,
    check_node,
    check_port,
    check_proxies,
    check_python,
    check_registry,
    check_setuptools,
    check_torchvision,
    examine,
)


@pytest.mark.parametrize(
    ("python", "level"),
    [
        ((3, 9), Level.PROBLEM),
        ((3, 10), Level.OK),
        ((3, 13), Level.OK),
        ((3, 14), Level.WARNING),
        ((4, 0), Level.WARNING),
    ],
)
def test_python(python, level):
    assert check_python(python).level is level


@pytest.mark.parametrize(
    ("installed", "level", "words"),
    [
        ("3.0", Level.OK, "3.0"),
        ("2.10", Level.PROBLEM, "2.10, not 3.0"),
        ("3.0.1", Level.PROBLEM, "3.0.1, not 3.0"),
        (None, Level.PROBLEM, "not installed"),
    ],
)
def test_nni(installed, level, words):
    finding = check_nni(installed)
    assert (finding.level, finding.text) == (level, words)
    assert finding.remedy == (None if level is Level.OK else "pip install nni==3.0")


# --- the manager's Node


def test_nni_brings_a_node_that_starts():
    finding = check_node(doctor._nni_node())
    assert finding.level is Level.OK
    assert finding.text.startswith("Node v")


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_node_that_fails(tmp_path):
    finding = check_node(script(tmp_path / "node", "echo GLIBC_2.28 not found >&2; exit 1"))
    assert finding == Finding(
        "manager", Level.PROBLEM, "NNI's Node does not start: GLIBC_2.28 not found", finding.remedy
    )
    assert "reinstall nni" in finding.remedy


def test_a_node_for_another_machine(tmp_path):
    path = tmp_path / "node"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)
    assert "does not start" in check_node(path).text


@pytest.mark.parametrize("node", [None, Path("/nowhere/node")])
def test_no_node(node):
    assert check_node(node).text == f"NNI's Node is not at {node}"


def test_a_program_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.01)
    waits = script(tmp_path / "waits", "exec sleep 60")
    assert check_node(waits).text == "NNI's Node does not start: no answer within 0 s"
    dispatcher = check_dispatcher(str(waits))
    assert (dispatcher.level, dispatcher.text) == (
        Level.PROBLEM,
        "the tuner cannot be imported: no answer within 0 s",
    )
    assert "let less run beside it" in dispatcher.remedy


# --- the tuner's start


@pytest.mark.parametrize(
    ("printed", "level"),
    [("0.9", Level.OK), ("4.99", Level.OK), ("5.0", Level.WARNING), ("9.99", Level.WARNING), ("10.0", Level.PROBLEM)],
)
def test_the_time_that_the_tuner_takes(tmp_path, printed, level):
    finding = check_dispatcher(str(script(tmp_path / "python", f"echo {printed}")))
    assert finding.level is level
    assert "NNI waits 10 s for it" in finding.text


def test_the_tuner_starts_here():
    """How fast, a busy machine may decide."""
    assert re.match(r"the tuner is imported in \d+\.\d s; ", check_dispatcher(sys.executable).text)


def test_a_tuner_that_cannot_be_imported(tmp_path, monkeypatch):
    (tmp_path / "nni_dream").mkdir()
    (tmp_path / "nni_dream" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    finding = check_dispatcher(sys.executable)
    assert finding.level is Level.PROBLEM
    assert "cannot be imported: ImportError" in finding.text
    assert finding.remedy == (  # no package index has it
        "reinstall it from its checkout: pip install --force-reinstall --no-deps /path/to/checkout"
    )


# --- nnictl, torchvision


@pytest.mark.parametrize(
    ("has_pkg_resources", "installed", "level", "words"),
    [
        (True, "80.9.0", Level.OK, "setuptools 80.9.0 has pkg_resources"),
        (False, "82.0.0", Level.WARNING, "nnictl does not start: setuptools 82.0.0 has no pkg_resources"),
        (False, None, Level.WARNING, "nnictl does not start: there is no setuptools"),
    ],
)
def test_setuptools(has_pkg_resources, installed, level, words):
    finding = check_setuptools(has_pkg_resources, installed)
    assert finding.level is level
    assert finding.text.startswith(words)
    assert finding.remedy == (None if level is Level.OK else 'pip install "setuptools<81"')


@pytest.fixture
def fake_packages(tmp_path, monkeypatch):
    """Returns a function that puts a torch and a torchvision with the given code before the installed ones."""

    def install(torch, torchvision):
        for name, code in {"torch": torch, "torchvision": torchvision}.items():
            (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name)

    return install


@pytest.mark.parametrize(
    ("torchvision", "level", "words", "remedy"),
    [
        ("__version__ = '0.28.0'", Level.OK, "torch 2.13.0 with torchvision 0.28.0", None),
        (
            "raise RuntimeError('operator torchvision::nms does not exist')",
            Level.WARNING,
            "cannot be imported: RuntimeError: operator torchvision::nms does not exist",
            "ensure_torchvision()",
        ),
        ("raise ImportError('libcudart.so.13')", Level.WARNING, "ImportError: libcudart.so.13", "--force-reinstall"),
    ],
    ids=["fits", "operators", "other"],
)
def test_torchvision(fake_packages, torchvision, level, words, remedy):
    fake_packages("__version__ = '2.13.0'", torchvision)
    finding = check_torchvision(sys.executable)
    assert finding.level is level
    assert words in finding.text
    assert (remedy or "") in (finding.remedy or "")


def test_no_torch_is_no_trouble(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert check_torchvision("/nowhere/python").level is Level.OK


# --- the network


@pytest.mark.parametrize(
    ("environment", "level"),
    [
        ({}, Level.OK),
        ({"http_proxy": ""}, Level.OK),
        ({"ftp_proxy": "http://proxy:3128"}, Level.OK),
        ({"https_proxy": "http://proxy:3128"}, Level.WARNING),  # the dispatcher's web socket takes it
        ({"WS_PROXY": "http://proxy:3128"}, Level.WARNING),
        ({"socks_proxy": "socks5://proxy:1080"}, Level.WARNING),
        ({"http_proxy": "http://proxy:3128"}, Level.WARNING),
        ({"HTTP_PROXY": "http://proxy:3128"}, Level.WARNING),
        ({"ALL_PROXY": "socks5://proxy:1080"}, Level.WARNING),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "localhost"}, Level.WARNING),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "example.org"}, Level.WARNING),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "localhost,127.0.0.1"}, Level.OK),
        ({"http_proxy": "http://proxy:3128", "NO_PROXY": "127.0.0.1, example.org, localhost"}, Level.OK),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "a.org", "NO_PROXY": "localhost,127.0.0.1"}, Level.WARNING),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "*"}, Level.OK),
    ],
    ids=str,
)
def test_proxies(environment, level):
    finding = check_proxies(environment)
    assert finding.level is level
    assert "no_proxy=localhost,127.0.0.1" in (finding.remedy or "no_proxy=localhost,127.0.0.1")


def test_localhost():
    assert check_localhost("localhost").level is Level.OK


@pytest.mark.parametrize(
    ("name", "words"), [("127.0.0.2", "127.0.0.2 is 127.0.0.2, not 127.0.0.1"), ("no.invalid", "has no address")]
)
def test_a_localhost_that_is_not(name, words):
    finding = check_localhost(name)
    assert finding.level is Level.PROBLEM
    assert words in finding.text


def test_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert check_port(port).level is Level.OK  # bound, but nobody answers
        server.listen()
        assert check_port(port).level is Level.WARNING
        assert "`nni-dream run` takes a free one" in check_port(port).text
    assert check_port(port).level is Level.OK


# --- NNI's files


@pytest.mark.parametrize(("answer", "level"), [(True, Level.OK), (False, Level.WARNING)])
def test_registration(answer, level):
    finding = check_registry(lambda: answer)
    assert finding.level is level
    assert finding.remedy == (None if answer else "nni-dream register")


def test_registration_in_a_registry_of_its_own(tmp_path, monkeypatch):
    from nni_dream.registration import register, unregister

    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path))
    assert check_registry(doctor._is_registered).level is Level.WARNING
    register()
    assert check_registry(doctor._is_registered).level is Level.OK
    unregister()
    assert check_registry(doctor._is_registered).level is Level.WARNING


@pytest.mark.parametrize("command", ["register", "unregister"])
def test_registering_where_nothing_can_be_written_is_one_line(monkeypatch, command):
    monkeypatch.setenv("NNI_CONFIG_DIR", "/proc/nni")
    done = CliRunner().invoke(cli.app, [command])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")


def test_a_registry_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path / "file" / "folder"))
    finding = check_registry(doctor._is_registered)
    assert finding.level is Level.PROBLEM
    assert "NNI_CONFIG_DIR" in finding.remedy


def test_a_folder_that_can_be_written(tmp_path):
    assert check_folder("home", tmp_path) == Finding("home", Level.OK, f"{tmp_path} can be written")
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot(tmp_path):
    (tmp_path / "file").touch()
    for folder, words in {tmp_path / "absent": "No such file", tmp_path / "file": "Not a directory"}.items():
        finding = check_folder("home", folder)
        assert finding.level is Level.PROBLEM
        assert words in finding.text


def test_a_folder_that_is_read_only(tmp_path):
    """A superuser writes anyway; /proc is what not even they can write."""
    folder = Path("/proc") if os.geteuid() == 0 else tmp_path
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert check_folder("home", folder).level is Level.PROBLEM
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def list_of_experiments(folder, **entries):
    path = folder / ".experiment"
    path.write_text(json.dumps(entries))
    return path


@pytest.fixture
def ended_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def node(tmp_path):
    """A process that has the name of NNI's manager."""
    program = tmp_path / "node"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([program, "100"])
    yield process
    process.kill()
    process.wait()


def test_stale_experiments(tmp_path, node, ended_pid):
    path = list_of_experiments(
        tmp_path,
        running={"status": "RUNNING", "pid": node.pid},
        crashed={"status": "RUNNING", "pid": ended_pid},
        finished={"status": "DONE", "pid": ended_pid},
        taken={"status": "RUNNING", "pid": os.getpid()},  # the number is another program's by now
        stopped={"status": "STOPPED", "pid": ended_pid},
        old={"status": "RUNNING"},
    )
    finding = check_experiments(path)
    assert finding.level is Level.WARNING
    assert finding.text.endswith(": crashed, finished, taken")
    assert "never --all" in finding.remedy


def test_experiments_that_are_what_they_seem(tmp_path, node, ended_pid):
    path = list_of_experiments(
        tmp_path, running={"status": "RUNNING", "pid": node.pid}, stopped={"status": "STOPPED", "pid": ended_pid}
    )
    assert check_experiments(path) == Finding("experiments", Level.OK, "2 in NNI's list, none without its manager")


def test_no_experiments(tmp_path):
    assert check_experiments(tmp_path / "absent").level is Level.OK


def test_a_broken_list(tmp_path):
    path = tmp_path / ".experiment"
    path.write_text('{"a": ')
    finding = check_experiments(path)
    assert finding.level is Level.WARNING
    assert str(path) in finding.remedy


@pytest.mark.parametrize(
    ("free_bytes", "level"),
    [
        (2 * 10**9, Level.OK),
        (2 * 10**9 - 1, Level.WARNING),
        (10**8, Level.WARNING),
        (10**8 - 1, Level.PROBLEM),
        (0, Level.PROBLEM),
    ],
)
def test_disk(free_bytes, level):
    assert check_disk(free_bytes).level is level


# --- all together


def test_whatever_is_not_ok_says_how_to_mend_it():
    findings = list(examine())
    assert len({finding.check for finding in findings}) == len(findings)
    for finding in findings:
        assert (finding.remedy is None) is (finding.level is Level.OK), finding


@pytest.mark.parametrize(
    ("levels", "code"),
    [
        ([Level.OK], 0),
        ([Level.OK, Level.WARNING], 0),
        ([Level.PROBLEM, Level.OK], 1),
    ],
)
def test_the_exit_code_says_whether_there_is_a_problem(monkeypatch, levels, code):
    findings = [Finding(f"check{i}", level, "[text]", "[remedy]") for i, level in enumerate(levels)]
    monkeypatch.setattr(doctor, "examine", lambda: iter(findings))
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == code
    assert result.stdout.splitlines() == [
        f"{finding.level.value:<8} {finding.check}: [text]; to mend it: [remedy]" for finding in findings
    ]


def test_without_nni_the_doctor_still_answers(monkeypatch):
    monkeypatch.setattr(doctor, "_installed_version", lambda package: None)
    findings = {finding.check: finding for finding in examine()}
    assert findings["nni"].level is Level.PROBLEM
    assert "registration" not in findings
    assert "disk" in findings


def test_a_home_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/proc/nobody"))  # nobody can make a folder there
    findings = {finding.check: finding for finding in examine()}
    assert findings["home"].level is Level.PROBLEM
    assert "disk" not in findings


def test_the_doctor_in_a_broken_environment(tmp_path):
    """From outside: a proxy, a home that is a file, a registry of nobody."""
    home = tmp_path / "home"
    home.touch()
    environment = os.environ | {
        "HOME": str(home),
        "NNI_CONFIG_DIR": str(home / "nni"),
        "http_proxy": "http://proxy.invalid:3128",
    }
    environment.pop("no_proxy", None)
    environment.pop("NO_PROXY", None)
    done = subprocess.run(
        [sys.executable, "-m", "nni_dream.cli", "doctor"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == ""
    lines = {line.split()[1].rstrip(":"): line.split()[0] for line in done.stdout.splitlines()}
    assert (lines["home"], lines["registration"], lines["proxy"]) == ("problem", "problem", "warning")
