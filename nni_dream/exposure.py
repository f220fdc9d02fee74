"""Who can reach NNI's manager: NNI lets it listen on all addresses, and asks for no login.

Where every trial runs on this machine the manager is held to the loopback address, which NNI has no option for: a few
lines loaded into its Node process do it.  Where other machines must reach it, it stays open, at an address whose path
nobody can guess.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nni.experiment import ExperimentConfig

__all__ = ["Exposure", "exposure_of", "listening_as"]

LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1")
LOOPBACK_ONLY: Final = Path(__file__).with_name("loopback_only.js")
N_TOKEN_BYTES: Final = 16  # 128 bits: not to be found by trying
NODE_OPTIONS: Final = "NODE_OPTIONS"
EARLIER_NODE_OPTIONS: Final = "NNI_DREAM_NODE_OPTIONS"  # what loopback_only.js puts back for the manager's children


@dataclass(frozen=True)
class Exposure:
    """Who can open a connection to the manager, and under which path it answers."""

    is_loopback_only: bool
    url_prefix: str | None = None  # without slashes

    def address(self, port: int) -> str:
        """Return the address of the web page on this machine."""
        return "/".join(filter(None, (f"http://localhost:{port}", self.url_prefix)))

    def warning(self, port: int) -> str:
        """Return who can reach the manager, in a line for whoever starts it."""
        if self.is_loopback_only:
            return (
                "the page answers on this machine only; NNI asks for no login: every user of this machine can open it"
            )
        return (
            f"NNI's manager answers other machines on port {port}, for its trials there, and asks for no login; only "
            "the random path in its address keeps strangers out, and it travels unencrypted: let a firewall admit the "
            "trials' machines and nobody else"
        )


def exposure_of(config: ExperimentConfig) -> Exposure:
    """Return the smallest exposure with which the experiment's trials still reach the manager."""
    if _trials_are_here(config):
        return Exposure(is_loopback_only=True)
    return Exposure(is_loopback_only=False, url_prefix=secrets.token_hex(N_TOKEN_BYTES))


@contextmanager
def listening_as(exposure: Exposure) -> Iterator[None]:
    """Let a manager that is started inside the block listen as the exposure says."""
    if not exposure.is_loopback_only:
        yield
        return
    earlier = os.environ.get(NODE_OPTIONS)
    os.environ[EARLIER_NODE_OPTIONS] = earlier or ""
    os.environ[NODE_OPTIONS] = " ".join(filter(None, (earlier, f"--require {_quoted(LOOPBACK_ONLY)}")))
    try:
        yield
    finally:
        del os.environ[EARLIER_NODE_OPTIONS]
        if earlier is None:
            del os.environ[NODE_OPTIONS]
        else:
            os.environ[NODE_OPTIONS] = earlier


def _trials_are_here(config: ExperimentConfig) -> bool:
    chosen = config.canonical_copy().training_service  # with the experiment's own nniManagerIp where it has none
    services = chosen if isinstance(chosen, list) else [chosen]
    return all(service.platform == "local" or service.nni_manager_ip in LOOPBACK_HOSTS for service in services)


def _quoted(path: Path) -> str:
    """Return the path as Node reads it in NODE_OPTIONS, where a space ends a word."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
