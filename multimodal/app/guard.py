"""Who may ask, for what, and what the browser may load: around everything the page serves."""

from __future__ import annotations

import base64
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from multimodal.errors import QueryError

Asgi: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:;"
    " style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; frame-ancestors 'self'"
)
"""No address but this server's: what Gradio's page names of the outside is not asked for."""
LOCAL = ("127.0.0.1", "localhost", "::1")


def check_address(host: str, auth: tuple[str, str] | None) -> None:
    """Raises QueryError for an address that others can reach without a password."""
    if not is_local(host) and auth is None:
        raise QueryError(
            f"At {host} others could read the library: give --auth USER:PASSWORD, or stay at 127.0.0.1."
        )


def is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_auth(text: str | None) -> tuple[str, str] | None:
    """USER:PASSWORD. Raises QueryError for anything else."""
    if text is None:
        return None
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise QueryError("--auth takes USER:PASSWORD.")
    return user, password


class Guard:
    """An ASGI application before another: passwords (HTTP Basic), names of hosts, security headers.

    A server that is open to this machine alone answers to its own names only, so that no page of another
    site can reach it under a name of theirs (DNS rebinding).
    """

    def __init__(self, app: Asgi, auth: tuple[str, str] | None, only_local: bool) -> None:
        self._app, self._only_local = app, only_local
        self._token = None if auth is None else base64.b64encode(":".join(auth).encode())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = dict(scope.get("headers") or ())
        if self._only_local and _host(headers.get(b"host", b"")) not in LOCAL:
            await _refuse(scope, send, 421, "This address is not served here.")
        elif not self._may(headers.get(b"authorization", b"")):
            await _refuse(scope, send, 401, "A name and a password are needed.")
        else:
            await self._app(scope, receive, _with_policy(send))

    def _may(self, given: bytes) -> bool:
        if self._token is None:
            return True
        kind, _, token = given.partition(b" ")
        return kind.lower() == b"basic" and secrets.compare_digest(token.strip(), self._token)


def _host(header: bytes) -> str:
    name = header.decode("latin-1").strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if ":" in name else name


def _with_policy(send: Any) -> Any:
    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *(
                    ()
                    if b"content-security-policy" in names
                    else [(b"content-security-policy", POLICY.encode())]
                ),
                (b"x-content-type-options", b"nosniff"),
                (b"referrer-policy", b"no-referrer"),
            ]
        await send(message)

    return sent


async def _refuse(scope: Any, send: Any, status: int, sentence: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="multimodal"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
