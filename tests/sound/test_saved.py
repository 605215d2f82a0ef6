"""Audio parts inside saved spaces, and the command that writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from multimodal import Audio, Library, load_space
from multimodal.cli import app
from multimodal.errors import MultimodalError, NoMediaFile, QueryError, SpaceError
from multimodal.sound import bridge, bridge_audio, clap, with_audio
from multimodal.sound.bridge import noises
from tests.media import tone, write_sound
from tests.sound import test_imagebind, test_languagebind, test_sound
from tests.sound.test_bridge import sentences, tiny_clap
from tests.sound.test_sound import serial  # noqa: F401 (a fixture)

pytest.importorskip("torch")


def heard(rate: int) -> list[Audio]:
    return [test_sound.sound(seconds, rate, seed) for seed, seconds in enumerate((0.5, 2.0))]


def command(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["bridge", *map(str, arguments)])


@pytest.mark.parametrize("name", ["wav2clip", "imagebind", "languagebind-audio"])
def test_a_saved_space_hears_as_before(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed, dim = {
        "wav2clip": ("ViT-B-32-quickgelu/openai", 512),
        "imagebind": (test_imagebind.SPACE, 1024),
        "languagebind-audio": (test_languagebind.SPACE, 768),
    }[name]
    file = {
        "wav2clip": lambda: test_sound.checkpoint(tmp_path / "Wav2CLIP.pt"),
        "imagebind": lambda: test_imagebind.checkpoint(tmp_path / "imagebind_huge.pth"),
        "languagebind-audio": lambda: test_languagebind.written(
            tmp_path / "audio", test_languagebind.low_rank(test_languagebind.tensors())
        ),
    }[name]()
    base = test_imagebind.listed(tmp_path / "base", listed, dim, monkeypatch)
    space = with_audio(base, name, file)
    space.save(tmp_path / "kept")
    again = load_space(str(tmp_path / "kept"))
    sounds = heard(space.read_options.audio_rate)
    np.testing.assert_array_equal(again.embed(sounds), space.embed(sounds))
    assert again["audio"].encoder_id == space["audio"].encoder_id and again.space_id == space.space_id
    assert list(again) == list(space) and again.read_options == space.read_options
    np.testing.assert_array_equal(again.embed(["a bell"]), base.embed(["a bell"]))
    again.save(tmp_path / "twice")  # what was loaded from a folder is a space like any other
    np.testing.assert_array_equal(load_space(str(tmp_path / "twice")).embed(sounds), space.embed(sounds))


def test_a_damaged_part_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = test_imagebind.listed(tmp_path / "base", test_imagebind.SPACE, 1024, monkeypatch)
    file = test_imagebind.checkpoint(tmp_path / "imagebind_huge.pth")
    kept = tmp_path / "kept"
    with_audio(base, "imagebind", file).save(kept)
    config = json.loads((kept / "config.json").read_text(encoding="utf-8"))
    weights = kept / config["audio_part"]["weights"]
    whole = weights.read_bytes()
    for broken in (b"", whole[: len(whole) // 2]):
        weights.write_bytes(broken)
        with pytest.raises(SpaceError, match="no checkpoint of ImageBind"):
            load_space(str(kept))
    weights.unlink()
    with pytest.raises(SpaceError):
        load_space(str(kept))
    weights.write_bytes(whole)
    del config["audio_part"]["weights"]
    (kept / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(SpaceError, match="cannot be loaded"):
        load_space(str(kept))


@pytest.mark.usefixtures("serial")
def test_the_command_bridges_clap_into_the_starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "noises", lambda rate: noises(rate, 4))  # 24 take seconds
    folder, made = tiny_clap(tmp_path / "clap"), tmp_path / "made"
    words = tmp_path / "sentences.txt"
    words.write_text("\n".join(sentences(80)), encoding="utf-8")
    done = command("--audio", f"clap={folder}", "--sentences", words, "-o", made)
    assert done.exit_code == 0, done.output
    assert "the sounds of clap (Apache-2.0)" in done.output.replace("\n", " ")
    space, starter = load_space(str(made)), load_space()
    assert space.read_options.audio_rate == 48_000 and list(space) == list(starter)
    expected = bridge_audio(clap.read(folder), starter, sentences(80))
    rows = space.embed(heard(48_000))
    np.testing.assert_allclose(rows, expected.embed(heard(48_000)), atol=1e-5)
    np.testing.assert_array_equal(space.embed(["a bell"]), starter.embed(["a bell"]))
    assert space["audio"].encoder_id != starter["audio"].encoder_id

    sounds = tmp_path / "sounds"
    sounds.mkdir()
    write_sound(sounds / "low.wav", tone(2.0, 44_100, 200), 44_100)
    with Library(sounds / ".multimodal", space) as library:
        assert library.add(sounds).count("added") == 1
        assert library.search(heard(48_000)[0], min_confidence=0)[0].path.name == "low.wav"


def test_the_command_adds_an_encoder_to_its_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = test_imagebind.listed(tmp_path / "base", test_imagebind.SPACE, 1024, monkeypatch)
    file = test_imagebind.checkpoint(tmp_path / "imagebind_huge.pth")
    done = command("--audio", f"imagebind={file}", "--space", tmp_path / "base", "-o", tmp_path / "made")
    assert done.exit_code == 0, done.output
    assert "CC-BY-NC-SA-4.0" in done.output
    expected = with_audio(base, "imagebind", file).embed(heard(16_000))
    np.testing.assert_array_equal(load_space(str(tmp_path / "made")).embed(heard(16_000)), expected)


def test_wrong_use_of_the_command_writes_nothing(tmp_path: Path) -> None:
    file, made = test_imagebind.checkpoint(tmp_path / "imagebind_huge.pth"), tmp_path / "made"
    few = tmp_path / "few.txt"
    few.write_text("a bell\na dog", encoding="utf-8")
    folder = tiny_clap(tmp_path / "clap")
    wrong: list[tuple[list[str], type[MultimodalError], str]] = [
        (["--audio", "imagebind"], QueryError, "NAME=PATH"),
        (["--audio", f"trumpet={file}"], SpaceError, "no audio encoder"),
        (["--audio", f"imagebind={file}"], SpaceError, "lands in"),
        (["--audio", f"clap={tmp_path / 'nowhere'}"], SpaceError, "no folder of CLAP"),
        (["--audio", f"clap={folder}", "--sentences", str(few)], QueryError, "at least 50"),
        (["--audio", f"clap={folder}", "--sentences", str(tmp_path / "none.txt")], NoMediaFile, "none.txt"),
    ]
    for arguments, kind, sentence in wrong:
        done = command(*arguments, "-o", made)
        assert isinstance(done.exception, kind), (arguments, done.exception)
        assert sentence in str(done.exception) and not made.exists()
