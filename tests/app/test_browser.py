"""The page in a real browser: Debian's chromium, headless. `make test-app` runs these."""

from __future__ import annotations

import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SHOTS = os.environ.get("MULTIMODAL_SCREENSHOTS")
"""A folder for the README's pictures of the page, where they are to be made anew."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
]
sync_api = pytest.importorskip("playwright.sync_api", reason="needs pip install 'multimodal[test-app]'")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as player:
        # a container's root may not make a sandbox of its own
        args = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        opened = player.chromium.launch(executable_path=CHROMIUM, args=args)
        yield opened
        opened.close()


@pytest.fixture
def tab(browser: Any, page: str) -> Iterator[Any]:
    """The page, opened; nothing but this machine may have been asked for anything."""
    context = browser.new_context(viewport={"width": 1200, "height": 860})
    context.set_default_timeout(15_000)
    tab, asked = context.new_page(), set[str]()
    tab.on("request", lambda request: asked.add(request.url.split("/")[2]))
    tab.goto(page)
    tab.wait_for_selector(WORDS)
    yield tab
    context.close()
    assert {host for host in asked if host} <= {page.removeprefix("http://")}


WORDS = "#mm-words textarea, #mm-words input"


def names(tab: Any) -> list[str]:
    return list(tab.eval_on_selector_all(".mm-card", "cards => cards.map(card => card.dataset.name)"))


def only(tab: Any, kind: str) -> None:
    tab.locator("#mm-kinds label", has_text=kind).locator("input").check()


def search(tab: Any, words: str) -> None:
    tab.fill(WORDS, words)
    tab.click("#mm-go")


def shot(tab: Any, name: str) -> None:
    if SHOTS:
        tab.wait_for_timeout(1500)
        tab.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


def test_words_find_and_say_why(tab: Any) -> None:
    search(tab, "a cup of coffee")
    tab.wait_for_selector(".mm-card")
    assert set(names(tab)[:2]) == {"cup-of-coffee.jpg", "a-good-cup-of-coffee.md"}
    assert tab.locator(".mm-card b").count() >= 2  # the words found
    shot(tab, "app-search")
    tab.click('.mm-card[data-name="cup-of-coffee.jpg"] button[data-act=why]')
    tab.wait_for_selector("#mm-why img", timeout=90_000)
    shot(tab, "app-why")
    tab.click('.mm-card[data-name="cup-of-coffee.jpg"] button[data-act=similar]')
    tab.wait_for_function("document.querySelector('.mm-card').dataset.name == 'cup-of-coffee.jpg'")


def test_a_picture_finds_its_sound(tab: Any, samples: Path) -> None:
    tab.set_input_files("#mm-upload input[type=file]", str(samples / "pictures/horse.png"))
    only(tab, "audio")
    tab.wait_for_timeout(1000)  # the upload
    tab.click("#mm-go")
    tab.wait_for_selector(".mm-card", timeout=60_000)
    assert names(tab)[0] == "horse-neighing.ogg"


def test_a_video_plays_at_its_moment(tab: Any) -> None:
    only(tab, "video")
    search(tab, "a drum kit")
    tab.wait_for_selector(".mm-card video")
    video = tab.locator(".mm-card video").first
    start = float(video.get_attribute("src").split("#t=")[1].split(",")[0])
    video.evaluate("video => video.play()")
    tab.wait_for_function("document.querySelector('.mm-card video').currentTime > 0", timeout=20_000)
    assert start <= video.evaluate("video => video.currentTime") < start + 5


def test_filters_and_nothing(tab: Any) -> None:
    tab.fill("#mm-path textarea, #mm-path input", "*.jpg")
    search(tab, "a castle")
    tab.wait_for_selector(".mm-card")
    assert names(tab)[0] == "castle.jpg" and all(name.endswith(".jpg") for name in names(tab))
    tab.fill("#mm-path textarea, #mm-path input", "")
    search(tab, "xqzzk blorp wug")
    tab.wait_for_selector(".mm-none")
    assert "Nothing matches" in tab.inner_text(".mm-none")


def test_an_upload_that_is_not_media(tab: Any, tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(b"no sound" * 1000)
    tab.set_input_files("#mm-upload input[type=file]", str(tmp_path / "song.mp3"))
    tab.wait_for_timeout(1000)
    tab.click("#mm-go")
    tab.wait_for_selector(".mm-none", timeout=60_000)
    assert "The upload cannot be read" in tab.inner_text(".mm-none")


def test_paths_outside_the_library_are_refused(page: str, samples: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    outside = [tmp_path / "secret.txt", Path("/etc/passwd"), samples / ".multimodal/library.sqlite"]
    for path in outside:
        for route in ("gradio_api/file=", "file=", "media/", "media/..%2f..", "gradio_api/file%3D"):
            assert status(f"{page}/{route}{path}") in (403, 404, 422), (route, path)
    assert status(f"{page}/media/999999") == 404
    assert status(f"{page}/media/1") == 200


def status(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_agents_find_the_tools(page: str) -> None:
    def ask(method: str, params: dict[str, Any], number: int) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
        headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        request = urllib.request.Request(f"{page}/gradio_api/mcp/", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")] or [text]
        return json.loads(lines[-1])["result"]

    tools = {tool["name"]: tool for tool in ask("tools/list", {}, 1)["tools"]}
    assert set(tools) == {"search", "similar"} and "by meaning" in tools["search"]["description"]
    found = ask("tools/call", {"name": "search", "arguments": {"words": "a castle", "k": 2}}, 2)
    assert "castle.jpg" in json.dumps(found)
