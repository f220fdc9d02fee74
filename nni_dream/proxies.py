"""Proxies of the environment that would stand between NNI's parts, all of them on this machine.

NNI's REST clients take the proxies for HTTP and for everything.  Its dispatcher is connected by a web socket, for which
the websockets library (since version 15) also takes those for HTTPS, SOCKS and web sockets: a proxy for HTTPS alone is
enough for the manager to wait in vain for its tuner, and to end every experiment with ERROR.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Final

__all__ = ["LOCAL_HOSTS", "SCHEMES", "has_exception", "proxy_variables", "spare_this_machine"]

SCHEMES: Final = ("http", "https", "all", "ws", "socks")
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1")


def proxy_variables(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that set such a proxy, in either case."""
    return [name for name, value in environment.items() if value and name.lower() in _NAMES]


def has_exception(environment: Mapping[str, str]) -> bool:
    """Whether the environment says that this machine is reached without a proxy."""
    exceptions = _exceptions(environment).replace(" ", "").split(",")
    return "*" in exceptions or set(LOCAL_HOSTS) <= set(exceptions)


def spare_this_machine(environment: MutableMapping[str, str]) -> None:
    """Add the exception for this machine where there is a proxy and no exception yet; what is excepted stays so."""
    if not proxy_variables(environment) or has_exception(environment):
        return
    exceptions = ",".join(filter(None, (_exceptions(environment), *LOCAL_HOSTS)))
    environment["no_proxy"] = environment["NO_PROXY"] = exceptions


def _exceptions(environment: Mapping[str, str]) -> str:
    # requests and websockets read the lower-case name first, and the other one only if that is not set
    return environment.get("no_proxy") or environment.get("NO_PROXY") or ""


_NAMES: Final = frozenset(f"{scheme}_proxy" for scheme in SCHEMES)
