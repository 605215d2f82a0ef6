"""What the page refuses: addresses, names, passwords, paths."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from multimodal.app.guard import POLICY, Guard, check_address, parse_auth
from multimodal.errors import QueryError
from tests.test_cli import run


async def _answer(guard: Guard, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await guard({"type": "http", "path": "/", "headers": given}, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


async def _inner(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})


def status(guard: Guard, **headers: str) -> int:
    return asyncio.run(_answer(guard, headers))[0]


def test_only_names_of_this_machine_are_answered() -> None:
    guard = Guard(_inner, None, only_local=True)
    for name in ("127.0.0.1:7860", "localhost", "LOCALHOST:1", "[::1]:7860"):
        assert status(guard, host=name) == 200
    for name in ("evil.example", "127.0.0.1.evil.example:7860", "", "10.0.0.1"):
        assert status(guard, host=name) == 421
    assert status(Guard(_inner, ("a", "b"), only_local=False), host="anything") == 401


def test_a_password_is_asked_for() -> None:
    guard = Guard(_inner, ("ann", "pa:ss"), only_local=True)
    right = "Basic " + base64.b64encode(b"ann:pa:ss").decode()
    assert status(guard, host="localhost", authorization=right) == 200
    for wrong in ("Basic " + base64.b64encode(b"ann:pass").decode(), "Bearer x", "Basic", right + "x"):
        assert status(guard, host="localhost", authorization=wrong) == 401


def test_the_browser_may_load_nothing_from_elsewhere() -> None:
    _, headers = asyncio.run(_answer(Guard(_inner, None, only_local=True), {"host": "localhost"}))
    assert headers["content-security-policy"] == POLICY and "http" not in POLICY
    assert headers["x-content-type-options"] == "nosniff"


def test_other_addresses_need_a_password(tmp_path: Path) -> None:
    check_address("127.0.0.1", None)
    check_address("::1", None)
    check_address("0.0.0.0", ("a", "b"))
    for host in ("0.0.0.0", "192.168.0.7", "example.org"):
        with pytest.raises(QueryError, match="--auth"):
            check_address(host, None)
    done = run("app", tmp_path, "--host", "0.0.0.0")
    assert done.returncode == 2 and "--auth USER:PASSWORD" in done.stderr
    assert parse_auth("ann:pa:ss") == ("ann", "pa:ss") and parse_auth(None) is None
    for wrong in ("ann", ":x", "ann:"):
        with pytest.raises(QueryError, match="USER:PASSWORD"):
            parse_auth(wrong)
    assert run("app", tmp_path / "nowhere").returncode == 2
