"""Stopping a request closes its socket at once, in whichever phase it is, over TCP and over TLS."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

import helix_nb as hx
from helix_nb.runtime.loop import background_loop, run_sync, submit

CERTIFICATES = Path(__file__).with_name("certificates")
CARRIERS = ("aiohttp", "httpx")
LARGE = "x" * 9_500_000
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TEXT = b'data: {"choices": [{"delta": {"content": "half "}}]}\n\n'
WHOLE = b'{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}'
REFUSED = b"HTTP/1.1 413 X\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\ntoo long"

Speak = Callable[[socket.socket], None]


def tls_server(name: str = "localhost") -> ssl.SSLContext:
    """What a server needs to speak TLS with one of the certificates beside these tests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{name}.pem")
    return context


class Speaker:
    """Speaks once to each connection as told, then holds it open and never reads again."""

    def __init__(self, speak: Speak, tls: ssl.SSLContext | None) -> None:
        self._speak, self._tls = speak, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.spoke = threading.Semaphore(0)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._over.is_set():
                connection.close()
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            self._speak(connection)
            self.spoke.release()
            self._over.wait(30)
        except OSError:
            pass
        finally:
            connection.close()

    def held(self) -> int:
        """How many sockets to this server are open in this process, TLS or not."""
        connections = psutil.Process().net_connections("tcp")
        return sum(bool(each.raddr) and each.raddr.port == self.port for each in connections)

    def left(self) -> bool:
        """Whether every one of them is closed, soon."""
        until = time.monotonic() + 5
        while self.held() and time.monotonic() < until:
            time.sleep(0.005)
        return not self.held()

    def close(self) -> None:
        self._over.set()
        with socket.create_connection(("127.0.0.1", self.port)):
            self._threads[0].join()
        self._listener.close()
        for thread in self._threads[1:]:
            thread.join()


@contextmanager
def speaking(speak: Speak, tls: ssl.SSLContext | None = None) -> Iterator[Speaker]:
    server = Speaker(speak, tls)
    try:
        yield server
    finally:
        server.close()


def connect(server: Speaker, carrier: str, scheme: str, **settings: Any) -> None:
    url = f"{scheme}://127.0.0.1:{server.port}"
    hx.connect(url, name="leave", retries=0, carrier=carrier, verify=False, **settings)


def head_of(connection: socket.socket) -> None:
    """Read a small request."""
    received = b""
    while not received.endswith(b"}"):
        received = connection.recv(65536)
        if not received:
            raise ConnectionError("the client left")


def says(*parts: bytes) -> Speak:
    def speak(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"".join(parts))

    return speak


CHUNK = b"%x\r\n%s\r\n" % (len(TEXT), TEXT)
PHASES: dict[str, tuple[Speak, str]] = {
    "sending": (lambda _: None, LARGE),
    "waiting": (says(), "?"),
    "headers": (says(HEAD), "?"),
    "between": (says(HEAD, CHUNK), "?"),
    "in a chunk": (says(HEAD, CHUNK, b"ff\r\ndata: "), "?"),
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_headers_that_come_drop_by_drop_are_no_first_byte(carrier: str) -> None:
    """The time to the first byte of an answer is one time, however its headers dawdle."""

    def dawdles(connection: socket.socket) -> None:
        head_of(connection)
        for byte in HEAD:
            connection.sendall(bytes([byte]))
            time.sleep(0.1)

    with speaking(dawdles) as server:
        connect(server, carrier, "http", first_byte_timeout_s=0.5)
        begun = time.monotonic()
        with pytest.raises(hx.TimedOut, match="first_byte_timeout_s"):
            hx.ask("?", model="m")
        assert time.monotonic() - begun < 4 and server.left()


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_request_that_is_stopped_closes_its_socket_at_once(carrier: str, scheme: str, phase: str) -> None:
    """Even one whose server reads nothing, and so takes neither the rest nor a goodbye; the row says so."""
    speak, prompt = PHASES[phase]
    with speaking(speak, tls_server() if scheme == "https" else None) as server:
        connect(server, carrier, scheme)
        ended = threading.Event()

        async def ask() -> None:
            try:
                await hx.aask(prompt, model="m", stream=True)
            finally:
                ended.set()

        asking = submit(ask())
        assert server.spoke.acquire(timeout=10)
        while not server.held():
            pass
        asking.cancel()
        assert server.left() and ended.wait(5)
        assert hx.log()["status"].iloc[-1] == "interrupted"
    assert not [task for task in asyncio.all_tasks(background_loop()) if not task.done()]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_handshake_that_never_ends_leaves_no_socket(carrier: str) -> None:
    """A server that accepts and says nothing is a connect timeout; a stop during it closes too."""
    with speaking(lambda _: None) as server:
        connect(server, carrier, "https", connect_timeout_s=0.2)
        with pytest.raises(hx.TimedOut, match=r"0\.2 seconds \(connect_timeout_s\)"):
            hx.ask("?", model="m")
        assert server.left()
        connect(server, carrier, "https")
        asking = submit(_asked())
        for _ in range(2):
            assert server.spoke.acquire(timeout=10)
        asking.cancel()
        assert server.left()


async def _asked() -> None:
    await hx.aask("?", model="m")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_answer_before_the_request_is_out_wins(scheme: str) -> None:
    """413 while ten megabytes still go out is that error, and the rest is never sent."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(REFUSED)

    with speaking(refuse, tls_server() if scheme == "https" else None) as server:
        connect(server, "aiohttp", scheme)
        with pytest.raises(hx.BadRequest, match="too long"):
            hx.ask(LARGE, model="m")
        assert server.left()


def test_a_server_that_changes_the_protocol_leaves_no_socket() -> None:
    """101 is no answer; its connection is closed."""
    switch = b"HTTP/1.1 101 X\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n"
    for carrier in CARRIERS:
        with speaking(says(switch)) as server:
            connect(server, carrier, "http")
            with pytest.raises(hx.HelixError):
                hx.ask("?", model="m")
            assert server.left()


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_flood_of_text_can_be_left(carrier: str) -> None:
    """Others have their turn while a server sends faster than anybody reads."""
    over = threading.Event()

    def flood(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(HEAD)
        server.spoke.release()
        while not over.is_set():
            connection.sendall(CHUNK * 1000)

    turns = 0

    async def ask() -> None:
        nonlocal turns
        asking = asyncio.ensure_future(_asked_text())
        while not texts:
            await asyncio.sleep(0)
        before = len(texts)
        while len(texts) < before + 2000:
            turns += 1
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])

    texts: list[str] = []

    async def _asked_text() -> None:
        async for piece in hx.astream("?", model="m"):
            texts.append(piece)

    with speaking(flood) as server:
        connect(server, carrier, "http")
        run_sync(ask())
        over.set()
        assert server.left()
    assert turns > 5


TRUST = {
    "localhost": ("localhost", None, "self-signed certificate.*verify='ca.pem'"),
    "expired": ("expired", "expired", r"expired\. .*right\?$"),
    "elsewhere": ("elsewhere", "elsewhere", r"not valid for '127\.0\.0\.1'\. .*right\?$"),
}


@pytest.mark.parametrize("name", TRUST)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_certificates_that_are_refused(carrier: str, name: str) -> None:
    """The sentence says why, offers `verify` only where it helps, and nothing is tried again."""
    served, trusted, words = TRUST[name]
    verify = True if trusted is None else str(CERTIFICATES / f"{trusted}.pem")
    with speaking(lambda _: None, tls_server(served)) as server:
        url = f"https://127.0.0.1:{server.port}"
        hx.connect(url, name="leave", carrier=carrier, verify=verify)
        with pytest.raises(hx.ConnectionFailed, match=words) as caught:
            hx.ask("?", model="m")
        assert not caught.value.retryable and "_ssl.c" not in str(caught.value)


SCRIPT = """
import os, sys
import helix_nb as hx
hx.connect(sys.argv[1], name="leave", retries=0, carrier=sys.argv[2], verify=False)
stream = hx.stream("?", model="m")
pieces = iter(stream.__enter__())
print(next(pieces), flush=True)
if sys.argv[3] == "replace":
    hx.connect(sys.argv[1], name="leave", retries=0, carrier=sys.argv[2], verify=False, headers={"a": "b"})
if sys.argv[3] == "fork" and (child := os.fork()):
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize("how", ["leave", "replace", *(["fork"] if hasattr(os, "fork") else [])])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_script_that_leaves_a_stream_says_nothing(carrier: str, how: str) -> None:
    """No warning of an open session, transport or task, in development mode, over TLS."""
    with speaking(says(HEAD, CHUNK), tls_server()) as server:
        options = ["-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning"]
        if how == "fork":  # the socket stays the parent's, which the child must not close
            options += ["-W", "ignore:unclosed transport:ResourceWarning"]
        script = [sys.executable, *options, "-c", SCRIPT, f"https://127.0.0.1:{server.port}", carrier, how]
        ended = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in ended.stderr.splitlines() if not line.startswith("Executing ")]
    assert (ended.returncode, ended.stdout.strip(), said) == (0, "half", [])
