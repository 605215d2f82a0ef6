"""open_clip towers that learn: low-rank updates and all weights."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from multimodal import load_space
from multimodal.errors import QueryError
from multimodal.space import Space
from multimodal.towers import clip
from multimodal.training import fit, learn, lora
from multimodal.types import Clip
from tests.fakes import fake_space
from tests.models import write_model

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 160, 40),
    "blue": (40, 60, 220),
    "yellow": (230, 220, 40),
    "white": (245, 245, 245),
    "black": (10, 10, 10),
    "purple": (140, 40, 160),
    "orange": (250, 140, 20),
}
QUICK = {"epochs": 6, "rate": 3e-3, "hold": 0.0, "lose": 0.99, "batch": 32, "validation": 0.25}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("clip") / "tiny", "clip")


def pairs() -> list[tuple[str, Any]]:
    """Pictures of an upper and a lower colour, and captions that say which."""
    made: list[tuple[str, Any]] = []
    for upper in COLOURS:
        for lower in COLOURS:
            picture = Image.new("RGB", (32, 32), COLOURS[upper])
            picture.paste(COLOURS[lower], (0, 16, 32, 32))
            made.append((f"{upper} over {lower}", picture))
    return made


def space_of(folder: Path) -> Space:
    return load_space(str(folder))


def test_low_rank_updates_learn_and_are_merged(folder: Path, tmp_path: Path) -> None:
    """Recall rises; what is saved is what learned, to us and to open_clip."""
    import open_clip

    base = space_of(folder)
    learned = learn(
        base, pairs(), "lora", output=tmp_path / "mine", **{**QUICK, "epochs": 40, "patience": 40}
    )
    before, after = (
        np.mean([(one.rank <= 10).mean() for one in scores]) for scores in (learned.before, learned.after)
    )
    assert learned.point.alpha > 0 and after > before + 0.1
    space, items = learned.space, [one for pair in pairs()[:5] for one in pair]
    assert space.space_id != base.space_id and space["image"].encoder_id != base["image"].encoder_id
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'mine'}")
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'mine'}")
    with torch.no_grad():
        text = model.encode_text(tokens(items[::2]), normalize=True).numpy()
        image = model.encode_image(
            torch.stack([transform(one) for one in items[1::2]]), normalize=True
        ).numpy()
    assert (space.embed(items[::2]) * text).sum(axis=1).min() > 1 - 1e-5
    assert (space.embed(items[1::2]) * image).sum(axis=1).min() > 1 - 1e-3  # pictures are resized twice alike
    card = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert "Trained: lora." in card and "| rank | 8 |" in card


def test_a_tower_that_does_not_learn_keeps_its_rows(folder: Path) -> None:
    base = space_of(folder)
    better = fit(base, pairs(), "lora.image", **{**QUICK, "validation": 0.0})
    assert better["text"].encoder_id == base["text"].encoder_id and better.space_id == base.space_id
    assert better["image"].encoder_id != base["image"].encoder_id
    np.testing.assert_array_equal(better.embed("red over blue"), base.embed("red over blue"))
    assert not np.allclose(better.embed(pairs()[3][1]), base.embed(pairs()[3][1]), atol=1e-3)


def test_all_weights_learn(folder: Path, tmp_path: Path) -> None:
    base = space_of(folder)
    learned = learn(base, pairs(), "all", output=tmp_path / "mine", **{**QUICK, "epochs": 30, "patience": 30})
    assert learned.point.alpha > 0 and learned.points[-1].mrr > learned.points[0].mrr + 0.05
    rows = learned.space.embed([one for pair in pairs()[:3] for one in pair])
    again = load_space(learned.space.save(tmp_path / "again"))
    np.testing.assert_allclose(again.embed([one for pair in pairs()[:3] for one in pair]), rows, atol=1e-6)


def trunk(space: Space, spare: bool = False, low_rank: bool = True) -> Any:
    torch.manual_seed(0)
    made = lora.trunk(space._source.loaded, ("text", "image"), low_rank, 4, 8, spare)  # type: ignore[attr-defined]
    with torch.no_grad():
        for name, parameter in made.module.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    return made


@pytest.mark.parametrize("family", ["clip", "siglip", "pe", "clipa", "coca", "roberta"])
def test_merged_rows_are_those_of_the_updates(tmp_path: Path, family: str) -> None:
    space = space_of(write_model(tmp_path / family, family))
    made = trunk(space)
    loaded = space._source.loaded  # type: ignore[attr-defined]
    model = lora.merged(loaded, made.module)
    plain = lora.trunk(clip.with_model(loaded, model), ("text", "image"), False, 1, 1, False)
    start = lora.trunk(loaded, ("text", "image"), False, 1, 1, False)
    inputs = {
        "text": np.stack([space["text"].tower.preprocess(text) for text in ("red over blue", "a dog")]),
        "image": np.stack([space["image"].tower.preprocess(picture) for _, picture in pairs()[1:4]]),
    }
    for modality, values in inputs.items():
        with torch.no_grad():
            rows = [
                torch.nn.functional.normalize(one.encode[modality](values, torch.device("cpu")), dim=-1)
                for one in (made, plain, start)
            ]
        assert (rows[0] * rows[1]).sum(dim=1).min() > 1 - 1e-5
        assert (rows[0] * rows[2]).sum(dim=1).min() < 1 - 1e-4  # the updates do something


def gradients(space: Space, spare: bool) -> dict[str, torch.Tensor]:
    made = trunk(space, spare)
    made.module.eval()
    for modality, item in zip(("text", "image"), pairs()[5], strict=True):
        values = np.stack([space[modality].tower.preprocess(item)])  # type: ignore[index]
        rows = made.encode[modality](values, torch.device("cpu"))
        (rows * torch.linspace(-1, 1, rows.shape[1])).sum().backward()
    learning = {name: one for name, one in made.module.named_parameters() if one.requires_grad}
    assert learning and all(".lora_" in name for name in learning)
    return {name: one.grad for name, one in learning.items()}


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_computing_twice_gives_the_same_gradients(tmp_path: Path, family: str) -> None:
    space = space_of(write_model(tmp_path / family, family))
    kept, spared = gradients(space, False), gradients(space, True)
    assert sum(int(one is None or not one.any()) for one in kept.values()) == 0
    for name, gradient in kept.items():
        torch.testing.assert_close(spared[name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("part", ["lora", "all"])
def test_an_interrupted_training_of_towers_goes_on_with_the_same_numbers(
    folder: Path, tmp_path: Path, part: str
) -> None:
    asked = {**QUICK, "epochs": 3, "batch": 8, "accumulate": 2, "hard": 1, "hold": 5.0}
    whole = learn(space_of(folder), pairs(), part, output=tmp_path / "whole", **asked)

    def stop(line: dict[str, float]) -> None:
        if line["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(space_of(folder), pairs(), part, output=tmp_path / "mine", listener=stop, **asked)
    (state,) = (tmp_path / "mine.run").glob("*.safetensors")
    if part == "lora":
        assert all(".lora_" in name or "log_scale" in name for name in names(state, "model."))
        assert state.stat().st_size < (folder / "open_clip_model.safetensors").stat().st_size
    torch.manual_seed(99)  # what else is drawn in the process changes nothing
    mine = learn(space_of(folder), pairs(), part, output=tmp_path / "mine", **asked)
    assert mine.resumed and not whole.resumed
    for one, two in zip(whole.history, mine.history, strict=True):
        assert {**one, "seconds": 0} == {**two, "seconds": 0}
    assert mine.points == whole.points
    weights = "open_clip_model.safetensors"
    assert (tmp_path / "mine" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()


KILLED = """
import functools, os, signal, sys
from pathlib import Path
import torch
from multimodal import load_space
from multimodal.training import checkpoint, learn, loop, tuning
from tests.training.test_towers import QUICK, pairs

torch.set_num_threads(1)
folder, output, deadly = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
save = checkpoint.save
count = 0
def counted(*given):
    global count
    save(*given)
    count += 1
    if count == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save = counted
tuning.train = functools.partial(loop.train, every=0)
learn(load_space(folder), pairs(), "lora", output=output, **{**QUICK, "epochs": 3, "batch": 8, "hard": 1})
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_training_of_towers_goes_on_with_the_same_numbers(folder: Path, tmp_path: Path) -> None:
    def run(name: str, deadly: int) -> int:
        command = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / name), str(deadly)]
        return subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True).returncode

    assert run("whole", -1) == 0
    assert run("killed", 4) == -signal.SIGKILL  # within the first epoch
    assert run("killed", 5) == -signal.SIGKILL
    assert run("killed", -1) == 0
    weights = [(tmp_path / name / "open_clip_model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


def names(path: Path, prefix: str) -> list[str]:
    from safetensors import safe_open

    with safe_open(str(path), "pt") as file:
        return [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118


def test_generic_pairs_hold_and_bf16_learns(folder: Path) -> None:
    generic = [(f"{caption} again", picture.rotate(90)) for caption, picture in pairs()[:12]]
    asked = {**QUICK, "epochs": 1, "hold": 10.0, "bf16": True, "checkpointing": True, "loss": "siglip"}
    learned = learn(space_of(folder), pairs(), "lora", keep=generic, **asked)
    assert 0 < learned.history[0]["moved"] < 1 and len(learned.points) == 5


def test_wrong_use_of_towers_is_told_in_a_sentence(folder: Path) -> None:
    with pytest.raises(QueryError, match="--parts lora needs an open_clip space"):
        fit(fake_space(), pairs(), "lora")
    with pytest.raises(QueryError, match="lora learns by itself"):
        fit(space_of(folder), pairs(), ("lora", "head"))
    with pytest.raises(QueryError, match="image cannot learn from pairs of text only"):
        fit(space_of(folder), [(f"a {n}", f"b {n}") for n in range(9)], "lora.image", validation=0.0)
    with pytest.raises(QueryError, match="rank is at least 1"):
        fit(space_of(folder), pairs(), "lora", rank=0)
    clips = [(f"{n}", Clip([picture], np.zeros(1))) for n, (_, picture) in enumerate(pairs()[:9])]
    with pytest.raises(QueryError, match="not from video"):
        fit(space_of(folder), clips, "lora", validation=0.0)
