"""Which proxies would stand between NNI's parts, and the exception for this machine."""

import asyncio

import pytest
import requests
import websockets

from nni_dream.proxies import LOCAL_HOSTS, SCHEMES, has_exception, proxy_variables, spare_this_machine

PROXY = "http://127.0.0.1:9"  # nobody listens there
LOCAL = ",".join(LOCAL_HOSTS)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for scheme in (*SCHEMES, "no", "ftp"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"ftp_proxy": PROXY}, {}),
        ({"https_proxy": ""}, {}),
        ({"https_proxy": PROXY}, {"no_proxy": LOCAL, "NO_PROXY": LOCAL}),
        ({"HTTP_PROXY": PROXY, "no_proxy": "*"}, {"no_proxy": "*"}),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": LOCAL}, {"NO_PROXY": LOCAL}),
        ({"all_proxy": PROXY, "no_proxy": "a.org"}, {"no_proxy": f"a.org,{LOCAL}", "NO_PROXY": f"a.org,{LOCAL}"}),
        ({"ws_proxy": PROXY, "NO_PROXY": "a.org"}, {"no_proxy": f"a.org,{LOCAL}", "NO_PROXY": f"a.org,{LOCAL}"}),
    ],
    ids=str,
)
def test_the_exception_for_this_machine(before, after):
    environment = dict(before)
    spare_this_machine(environment)
    assert environment == before | after
    assert has_exception(environment) or not proxy_variables(environment)


@pytest.fixture(params=SCHEMES)
def proxied(request, monkeypatch):
    monkeypatch.setenv(f"{request.param}_proxy", PROXY)
    return request.param


async def web_socket_to(port):
    async with websockets.connect(f"ws://localhost:{port}"):
        pass


@pytest.fixture
def web_socket_port():
    """A server of web sockets that closes each at once, while the test asks it."""

    async def ask(client):
        async with websockets.serve(lambda _: asyncio.sleep(0), "127.0.0.1", 0) as server:
            await client(server.sockets[0].getsockname()[1])

    return lambda client: asyncio.run(ask(client))


def test_each_of_them_cuts_a_client_of_this_machine_off(proxied, web_socket_port):
    """Else the variable need not be named; the libraries are those that NNI uses."""
    cut_off = []
    for client in (web_socket_to, rest_call_to):
        try:
            web_socket_port(client)
        except (OSError, ImportError, requests.RequestException, websockets.WebSocketException) as error:
            cut_off.append(error)
    assert cut_off


def test_with_the_exception_it_does_not(proxied, web_socket_port, monkeypatch):
    monkeypatch.setenv("no_proxy", LOCAL)
    web_socket_port(web_socket_to)
    web_socket_port(rest_call_to)


async def rest_call_to(port):
    """Any answer will do: the server speaks web sockets only."""
    answer = await asyncio.to_thread(requests.get, f"http://localhost:{port}", timeout=20)
    assert answer.status_code == 426
