"""Real SSH servers on loopback ports, each a machine of its own as far as NNI can tell: own key, own HOME."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.experiment import BIN, free_port
from waiting import wait_until

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin")
SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")
PRIVILEGE_SEPARATION_FOLDER = Path("/run/sshd")  # sshd does not start without it

# What NNI starts on a machine: `pip install nni --upgrade` must find what is there, and ask no package index.
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}

CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
AllowUsers {user}
Subsystem sftp {sftp}
SetEnv {environment}
"""


def why_there_are_no_ssh_servers() -> str | None:
    """Return what is missing, in words for the report of a skipped test; ``None`` if nothing is."""
    missing = [str(path) for path in (SSHD, SFTP_SERVER) if path is None or not Path(path).exists()]
    if missing or shutil.which("ssh-keygen") is None:
        return "openssh-server is not installed: run tools/install_sshd.sh"
    if not PRIVILEGE_SEPARATION_FOLDER.is_dir():
        return f"{PRIVILEGE_SEPARATION_FOLDER} does not exist: run tools/install_sshd.sh"
    return None


@dataclass(frozen=True)
class SshServer:
    """One machine."""

    port: int
    home: Path
    user_key: Path
    log: Path

    def as_machine(self) -> dict[str, Any]:
        """An entry of NNI's `machineList`."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "sshKeyFile": str(self.user_key),
            "pythonPath": str(BIN),
        }

    def trial_folders(self) -> list[Path]:
        """The output folders of the trials that ran here."""
        return sorted(self.home.glob("nni-experiments/*/environments/*/trials/*"))


@contextmanager
def ssh_servers(folder: Path, n_servers: int) -> Iterator[list[SshServer]]:
    """Start servers that let in one key, made for them, and end them with everything that they started."""
    folder.mkdir()
    user_key = folder / "user_key"
    _make_key(user_key)
    with ExitStack() as running:
        yield [running.enter_context(_ssh_server(folder / f"machine{i}", user_key)) for i in range(n_servers)]


@contextmanager
def _ssh_server(folder: Path, user_key: Path) -> Iterator[SshServer]:
    server = SshServer(port=free_port(), home=folder / "home", user_key=user_key, log=folder / "sshd.log")
    server.home.mkdir(parents=True)
    _make_key(folder / "host_key")
    shutil.copy(user_key.with_suffix(".pub"), folder / "authorized_keys")
    environment = " ".join(f"{name}={value}" for name, value in {"HOME": server.home, **OFFLINE}.items())
    config = folder / "sshd_config"
    config.write_text(
        CONFIG.format(
            port=server.port, folder=folder, user=getpass.getuser(), sftp=SFTP_SERVER, environment=environment
        )
    )
    assert SSHD is not None
    process = subprocess.Popen([SSHD, "-D", "-f", config, "-E", server.log])
    try:
        wait_until(lambda: _answers(server.port) or process.poll() is not None, "the start of sshd")
        assert process.poll() is None, server.log.read_text()
        yield server
    finally:
        process.terminate()
        process.wait(timeout=10)


def _make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True, env=dict(os.environ))


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
