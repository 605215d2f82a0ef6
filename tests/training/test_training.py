"""Spaces that learn from pairs: what is asked of the pieces, and of the whole."""

from __future__ import annotations

import os
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
from multimodal.adapted import Adapted, Adapter
from multimodal.errors import QueryError, SpaceError
from multimodal.evaluation.items import item_key
from multimodal.pairs import Pairs, read_pairs
from multimodal.towers.base import unit
from multimodal.training import Settings, features, fit, learn
from multimodal.training.data import assemble
from multimodal.training.features import Feature
from multimodal.training.heads import Head, Heads
from multimodal.training.loop import _alike, train
from multimodal.training.losses import info_nce, sigmoids
from multimodal.training.mining import batches, drawn, mine
from multimodal.training.scores import JUDGED, REHEARSED, kept, recall, scored
from multimodal.training.tradeoff import Point, chosen, rows_through, trade_off
from multimodal.types import Modality, Vectors
from tests.fakes import fake_space

DIM = 16
SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """So small, more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(count: int = 60, seed: int = 0, **columns: object) -> tuple[Pairs, dict[object, Feature]]:
    """Texts and pictures in a space where the pictures lie by a rotation of their texts: a thing to learn."""
    rng = np.random.default_rng(seed)
    texts = unit(rng.normal(size=(count, DIM)))
    turn = np.linalg.qr(np.eye(DIM) + 0.3 * rng.normal(size=(DIM, DIM)))[0]
    pictures = unit(texts @ turn + 0.05 * rng.normal(size=(count, DIM)))
    known: dict[object, Feature] = {}
    pairs = []
    for number in range(count):
        text, picture = f"caption {number}", Path(f"/{number}.png")
        known["text", text] = Feature(f"t{number}", "text", texts[number])
        known["file", os.path.abspath(picture)] = Feature(f"p{number}", "image", pictures[number])
        pairs.append((text, picture))
    return Pairs(("caption", "image"), pairs, **columns), known  # type: ignore[arg-type]


def model_of(data: object, settings: Settings) -> Heads:
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(1)
    generic = {"text": unit(rng.normal(size=(20, DIM))), "image": unit(rng.normal(size=(20, DIM)))}
    return Heads(data.rows, generic, ("text", "image"), settings.hidden, settings.dropout, settings.loss)  # type: ignore[attr-defined, arg-type]


def test_an_adapter_is_its_module_and_starts_as_the_identity() -> None:
    torch.manual_seed(0)
    rows = unit(np.random.default_rng(0).normal(size=(5, DIM)))
    head = Head(DIM, 8, 0.5).eval()
    np.testing.assert_allclose(head(torch.from_numpy(rows)).detach().numpy(), rows, atol=1e-6)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    state = {name: tensor.detach().numpy() for name, tensor in head.state_dict().items()}
    adapter = Adapter(*(state[name] for name in ("inner.weight", "inner.bias", "outer.weight", "outer.bias")))
    np.testing.assert_allclose(adapter(rows), head(torch.from_numpy(rows)).detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(adapter.scaled(0)(rows), rows, atol=1e-6)
    assert adapter.scaled(0).is_identity and not adapter.is_identity


@pytest.mark.parametrize("weight", [[1.0, 1.0, 1.0], [0.5, 2.0, 0.5]])
def test_losses_are_those_of_their_papers(weight: list[float]) -> None:
    rng = np.random.default_rng(0)
    cosines = rng.uniform(-1, 1, (3, 4)).astype(np.float32)
    wrong = np.array([[0, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1]], bool)
    nce, pairwise = [], []
    for line in range(3):
        among = [j for j in range(4) if j == line or wrong[line, j]]
        logits = 7 * cosines[line]
        nce.append(-logits[line] + np.log(np.exp(logits[among]).sum()))
        signs = {j: 1 if j == line else -1 for j in among}
        pairwise.append(sum(np.log1p(np.exp(-signs[j] * (logits[j] - 3))) for j in among))
    shares = np.array(weight) / sum(weight)
    given = torch.from_numpy(cosines), torch.from_numpy(wrong), torch.tensor(weight), torch.tensor(7.0)
    assert float(info_nce(*given)) == pytest.approx(float(shares @ nce), rel=1e-5)
    assert float(sigmoids(*given, torch.tensor(-3.0))) == pytest.approx(float(shares @ pairwise), rel=1e-5)


def test_pairs_that_share_a_caption_stay_on_one_side_and_are_no_negatives() -> None:
    pairs, known = made(40)
    again = [("Caption 3!", pairs.pairs[7][1]), ("caption 3", pairs.pairs[9][1])]
    known["text", "Caption 3!"] = known["text", "caption 3"]
    data = assemble(Pairs(pairs.columns, [*pairs.pairs, *again]), known, 0.3, 0)
    [kind] = data.kinds
    assert 4 <= data.count("validation") <= 20 and data.count("train") + data.count("validation") == 42
    together = [3, 7, 9, 40, 41]
    assert len(set(kind.split[together].tolist())) == 1
    everyone = np.arange(42)
    codes = kind.codes(everyone)
    belongs = kind.belongs(codes, kind.left_group, kind.right_group)
    assert np.flatnonzero(belongs[3]).tolist() == [3, 7, 9, 40, 41]
    assert np.flatnonzero(belongs[7]).tolist() == [7, 40]
    later = assemble(Pairs(pairs.columns, pairs.pairs[:30]), known, 0.3, 0)
    same = [n for n in range(30) if n not in together]
    np.testing.assert_array_equal(later.kinds[0].split[same], kind.split[same])


def test_columns_say_how_much_a_pair_counts_and_what_it_is_for(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("text,label,Weight,split\na,b,2,\nc,d,,dev\ne,f\n", encoding="utf-8")
    found = read_pairs(file)
    assert found.weights == [2.0, 1.0, 1.0] and found.splits == ["train", "validation", "train"]
    for cells, told in (
        ("a,b,-1,train", "a weight is"),
        ("a,b,1,later", "a split is"),
        ("a,b,c,1,test", "filled"),
    ):
        file.write_text(f"text,label,weight,split\n{cells}\n", encoding="utf-8")
        with pytest.raises(QueryError, match=told):
            read_pairs(file)
    pairs, known = made(4, weights=[3.0, 1.0, 1.0, 1.0], splits=["train", "train", "validation", "test"])
    data = assemble(pairs, known, 0.5, 0)
    assert data.kinds[0].weight[:2].tolist() == [1.5, 0.5]
    assert [data.count(split) for split in ("train", "validation", "test")] == [2, 1, 1]


def test_batches_hold_every_pair_once_and_negatives_are_near_and_wrong() -> None:
    pairs, known = made(50)
    data = assemble(pairs, known, 0.2, 0)
    [kind] = data.kinds
    seen = np.concatenate([batch.pairs for batch in batches(data, 8, 0, 3)])
    assert sorted(seen.tolist()) == kind.places("train").tolist()
    assert not np.array_equal(seen, np.concatenate([batch.pairs for batch in batches(data, 8, 0, 4)]))
    [(right, left)] = mine(data, lambda modality: data.rows[modality], 0, 0)
    train_pairs = kind.places("train")
    cosines = data.rows["text"][kind.left] @ data.rows["image"][kind.right].T
    for place in train_pairs:
        others = [other for other in train_pairs if other != place]
        nearest = sorted(others, key=lambda other: -cosines[place, other])[:8]
        assert set(right[place].tolist()) == set(nearest)
        assert place not in left[place]
    chosen_pairs = drawn(right, train_pairs[:3], 2, np.random.default_rng(0))
    assert (
        set(chosen_pairs.tolist()) <= set(right[train_pairs[:3]].ravel().tolist())
        and 2 <= len(chosen_pairs) <= 6
    )


@pytest.mark.parametrize("loss", ["clip", "siglip"])
def test_training_finds_what_there_is_to_learn(loss: str) -> None:
    pairs, known = made(300)
    data = assemble(pairs, known, 0.2, 0)
    settings = Settings(epochs=25, hidden=64, hold=0, loss=loss, rate=5e-3, batch=64)  # type: ignore[arg-type]
    model = model_of(data, settings)
    before = recall(scored(data, rows_through(data.rows, {}), "train", "validation"), 1)
    train(model, data, settings)
    after = recall(scored(data, rows_through(data.rows, model.adapters()), "train", "validation"), 1)
    assert before < 0.7 and after > before + 0.2


def test_generic_rows_stay_where_they_are_told_to() -> None:
    pairs, known = made(200)
    data = assemble(pairs, known, 0.2, 0)
    moved = []
    for hold in (0.0, 30.0):
        model = model_of(data, settings := Settings(epochs=6, hold=hold, rate=5e-3))
        train(model, data, settings)
        generic = model.generic["text"]
        moved.append(1 - float((model.adapters()["text"](generic) * generic).sum(axis=1).mean()))
    assert moved[1] < 0.5 * moved[0]


def test_training_stops_when_validation_has_had_enough() -> None:
    pairs, known = made(80)
    data = assemble(pairs, known, 0.2, 0)
    found = train(model_of(data, s := Settings(epochs=30, patience=2, rate=1e-9)), data, s)
    assert len(found.history) < 30 and len(found.history) == found.best_epoch + 3


KILLED = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
from multimodal.training import Settings
from multimodal.training import loop, checkpoint
from multimodal.training.data import assemble
from tests.training.test_training import made, model_of

settings = Settings(epochs=4, batch=8, hidden=8, accumulate=2, hard=2, **json.loads(sys.argv[3]))
pairs, known = made(60)
data = assemble(pairs, known, 0.2, 0)
kept, deadly = Path(sys.argv[1]), int(sys.argv[2])
save = checkpoint.save
count = 0
def counted(*given):
    global count
    save(*given)
    count += 1
    if count == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save = counted
model = model_of(data, settings)
found = loop.train(model, data, settings, kept, every=0)
lines = [[value for key, value in line.items() if key != "seconds"] for line in found.history]
np.savez(kept.with_suffix(".npz"), history=lines, **{k: v.numpy() for k, v in model.state_dict().items()})
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("settings", ["{}", '{"average": 0.9, "alike": 0.3, "pull": 0.5, "drawn": 40}'])
def test_a_killed_training_goes_on_with_the_same_numbers(tmp_path: Path, settings: str) -> None:
    def run(name: str, deadly: int) -> int:
        given = (str(tmp_path / f"{name}.safetensors"), str(deadly), settings)
        command = [sys.executable, "-c", KILLED, *given]
        return subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True).returncode

    assert run("whole", -1) == 0
    assert run("killed", 6) == -signal.SIGKILL  # within the second epoch
    assert run("killed", 5) == -signal.SIGKILL
    assert run("killed", -1) == 0
    whole, killed = np.load(tmp_path / "whole.npz"), np.load(tmp_path / "killed.npz")
    assert set(whole) == set(killed)
    for name in whole:
        np.testing.assert_array_equal(whole[name], killed[name])


@pytest.mark.parametrize(
    "options", [{}, {"average": 0.9, "hard": 1}, {"alike": 0.3, "pull": 1.0, "drawn": 40}]
)
def test_an_interrupted_training_goes_on_with_the_same_numbers(
    tmp_path: Path, options: dict[str, float]
) -> None:
    pairs, known = made(60)
    data = assemble(pairs, known, 0.2, 0)
    settings = Settings(epochs=4, batch=8, hidden=8, accumulate=2, **options)
    whole = model_of(data, settings)
    undisturbed = train(whole, data, settings).history

    def stop(line: dict[str, float]) -> None:
        if line["epoch"] == 2:
            raise KeyboardInterrupt

    kept_file = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(model_of(data, settings), data, settings, kept_file, stop, every=0)
    other = model_of(data, settings)
    torch.manual_seed(99)  # what else is drawn in the process changes nothing
    resumed = train(other, data, settings, kept_file)
    assert resumed.resumed and len(resumed.history) == 4
    for one, two in zip(undisturbed, resumed.history, strict=True):
        assert {**one, "seconds": 0} == {**two, "seconds": 0}
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    kept_file.write_bytes(kept_file.read_bytes()[:100])
    with pytest.raises(SpaceError, match="remove it to begin anew"):
        train(model_of(data, settings), data, settings, kept_file)


def test_what_is_kept_is_the_running_mean_and_training_goes_on_from_the_weights() -> None:
    pairs, known = made(60)
    data = assemble(pairs, known, 0.0, 0)
    kept, steps = {}, []
    for average in (0.0, 0.9):
        model = model_of(data, settings := Settings(epochs=3, batch=20, hard=0, average=average))
        train(model, data, settings, listener=lambda line: steps.append(line["loss"]))
        kept[average] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert steps[:3] == steps[3:]  # looking at the mean leaves the weights where they were
    start = model_of(data, settings).state_dict()
    name = "heads.text.outer.weight"
    moved = {average: float((state[name] - start[name]).norm()) for average, state in kept.items()}
    assert 0 < moved[0.9] < moved[0.0]


def test_alike_texts_are_no_negatives_and_pull_draws_pairs_together() -> None:
    pairs, known = made(6)
    data = assemble(pairs, known, 0.0, 0)
    kind = data.kinds[0]
    near = _alike(data, kind, np.arange(6), np.arange(6), 0.2)
    texts = data.rows["text"][kind.left]
    np.testing.assert_array_equal(near, texts @ texts.T > 0.2)
    losses = {}
    for name, options in {"none": {}, "alike": {"alike": -1.0}, "pull": {"pull": 2.0}}.items():
        settings = Settings(epochs=1, batch=6, hard=0, hold=0, **options)  # type: ignore[arg-type]
        losses[name] = train(model_of(data, settings), data, settings).history[0]["loss"]
    assert losses["alike"] == pytest.approx(0, abs=1e-6)  # nothing is left to be told apart
    apart = 1 - (texts * data.rows["image"][kind.right]).sum(axis=1).mean()
    assert losses["pull"] - losses["none"] == pytest.approx(2 * apart, abs=1e-4)


def test_pairs_are_drawn_by_their_weights() -> None:
    pairs, known = made(10, weights=[9.0] + [1.0] * 9)
    data = assemble(pairs, known, 0.0, 0)
    epochs = [batches(data, 50, 0, epoch, 200) for epoch in range(20)]
    count = sum(np.bincount(batch.pairs, minlength=10) for epoch in epochs for batch in epoch)
    assert count.sum() == 20 * 200 and abs(count[0] / count.sum() - 0.5) < 0.03
    with pytest.raises(QueryError, match="drawn is 0 or at least 2"):
        Settings(drawn=1)
    with pytest.raises(QueryError, match="alike is a cosine"):
        Settings(alike=1.5)


def test_features_are_computed_once_and_only_for_the_encoder_that_made_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    real = features.embedded

    def embedded(space: object, pairs: Pairs, *rest: object) -> object:
        counted.append(len(pairs.pairs))
        return real(space, pairs, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(features, "embedded", embedded)
    items = ["red", "blue", Image.new("RGB", (40, 40), "red")]
    first, _ = features.features(fake_space(), items, tmp_path)
    again, _ = features.features(fake_space(), [*items, "red "], tmp_path)
    assert counted == [3] and {f.key for f in first.values()} == {f.key for f in again.values()}
    for key, feature in first.items():
        np.testing.assert_array_equal(feature.row, again[key].row)
    features.features(fake_space(2), items, tmp_path)  # another text tower, the same pictures
    assert counted == [3, 2]
    (shard,) = [p for p in (tmp_path / "features").iterdir() if np.load(p)["key"].size == 3]
    shard.write_bytes(b"broken")
    features.features(fake_space(), items, tmp_path)
    assert counted == [3, 2, 3]


def test_the_way_back_ends_where_too_much_is_lost() -> None:
    points = [Point(0, 0.5, 0.3, 0.9), Point(0.5, 0.7, 0.4, 0.895), Point(1, 0.9, 0.6, 0.85)]
    assert chosen(points, 0.01, True).alpha == 0.5
    assert chosen(points, 0.1, True).alpha == 1
    assert chosen(points, 0.0, True).alpha == 0
    assert chosen(points, 0.1, False).alpha == 1
    rows = {"text": np.eye(12, dtype=np.float32), "image": np.eye(12, dtype=np.float32)}
    assert kept(rows, rows) == 1.0  # type: ignore[arg-type]
    assert kept(rows, {"text": rows["text"], "image": -rows["image"]}) < 0.5  # type: ignore[arg-type]


def test_what_is_kept_is_told_by_rows_that_were_not_rehearsed_and_directions_that_moved() -> None:
    rng = np.random.default_rng(0)

    def rows_of(count: int) -> Vectors:
        return np.asarray(unit(rng.standard_normal((count, 16))), np.float32)

    rows: dict[Modality, Vectors] = {"text": rows_of(60), "image": rows_of(40)}
    shares = []
    for part in (REHEARSED, JUDGED):
        after = rows["text"].copy()
        after[part] = rows_of(30)
        shares.append(kept({"text": rows["text"]}, {"text": after}))
    assert shares[1] < 0.3 < shares[0] < 1  # the ones are asked for, among all
    other: dict[Modality, Vectors] = {**rows, "image": rows_of(40)}
    assert kept(rows, other) == kept({**rows, "audio": rows["text"]}, {**other, "audio": rows["text"]}) < 0.5


def test_half_of_the_generic_rows_is_rehearsed_and_pairs_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[dict[str, int]] = []
    begin = Heads.__init__

    def told(self: Heads, rows: Any, generic: Any, *rest: Any) -> None:
        seen.append({modality: len(some) for modality, some in generic.items()})
        begin(self, rows, generic, *rest)

    monkeypatch.setattr(Heads, "__init__", told)
    space = load_space()
    given = Pairs(("left", "right"), [(f"thing {n}", f"a {n}th thing") for n in range(24)])
    keep = Pairs(("left", "right"), [(f"word {n}", f"the word {n}") for n in range(24)])
    for kept_pairs in (None, keep):
        fit(space, given, keep=kept_pairs, epochs=1)
    whole = {modality: len(space.bank[modality]) for modality in ("text", "image", "video", "audio")}  # type: ignore[index]
    assert seen[0] == {modality: -(-count // 2) for modality, count in whole.items()}
    assert seen[1]["image"] == seen[0]["image"] and seen[1]["text"] > seen[0]["text"]


def test_pairs_that_are_kept_do_not_excuse_what_else_is_lost() -> None:
    rng = np.random.default_rng(0)
    rows = np.asarray(unit(rng.standard_normal((90, DIM))), np.float32)
    texts = [f"text {n}" for n in range(40)]
    known: dict[object, Feature] = {
        item_key(text): Feature(text, "text", rows[n % 20]) for n, text in enumerate(texts)
    }
    pairs = Pairs(("left", "right"), list(zip(texts[:20], texts[20:], strict=True)))
    keep = assemble(pairs, known, 0.5, 0)  # both sides of a pair are one row: it is always found
    weights = (rng.normal(0, 2, shape).astype(np.float32) for shape in ((8, DIM), (8,), (DIM, 8), (DIM,)))
    points = trade_off(keep, {"text": rows[20:]}, {"text": Adapter(*weights)}, keep)
    assert [point.recall for point in points] == [1.0] * len(points)
    assert points[0].kept == 1.0 and points[-1].kept < 0.5


def test_a_trained_space_is_a_space(tmp_path: Path) -> None:
    pictures = sorted((SAMPLES / "pictures").glob("*.jpg"))[:8]
    pairs = [(f"zorp {path.stem}", path) for path in pictures]
    base = load_space("starter#96")
    learned = learn(
        base,
        pairs,
        output=tmp_path / "mine",
        epochs=2,
        hidden=16,
        validation=0.0,
        lose=0.99,
        rate=3e-3,
        patience=9,
    )
    space = learned.space
    assert learned.point.alpha > 0 and len(learned.history) == 2
    assert space["text"].encoder_id != base["text"].encoder_id and space.dim == 96
    assert space["video"].encoder_id != base["video"].encoder_id
    assert space["audio"].encoder_id == base["audio"].encoder_id
    rows = space.embed([*pairs[0], "a castle"])
    again = load_space(tmp_path / "mine").save(tmp_path / "again")
    np.testing.assert_allclose(load_space(again).embed([*pairs[0], "a castle"]), rows, atol=1e-6)
    assert space.bank is not None and base.bank is not None
    expected = space._source.adapters["text"](unit(base.bank["text"]))  # type: ignore[attr-defined]
    np.testing.assert_allclose(space.bank["text"], expected, atol=1e-5)
    card = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert "| text and image |" in card and "| hidden | 16 |" in card
    assert (tmp_path / "mine" / "curves.png").read_bytes()[:4] == b"\x89PNG"
    why = space.explain(pictures[0], "a castle")
    assert why is not None
    with pytest.raises(SpaceError, match="not an empty folder"):
        fit(base, pairs, output=tmp_path / "mine")


def test_learning_twice_keeps_both(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def adapter() -> Adapter:
        shapes = (4, 384), (4,), (384, 4), (384,)
        return Adapter(*(0.05 * rng.normal(size=shape).astype(np.float32) for shape in shapes))

    base = load_space()
    twice = type(base)(Adapted(Adapted(base._source, {"text": adapter()}), {"text": adapter()}))
    loaded = load_space(twice.save(tmp_path / "one"))
    loaded = load_space(loaded.save(tmp_path / "two"))
    np.testing.assert_allclose(loaded.embed("a bee"), twice.embed("a bee"), atol=1e-6)
    assert loaded.space_id == twice.space_id != base.space_id
    shorter = load_space(twice.truncate(64).save(tmp_path / "three"))
    np.testing.assert_allclose(shorter.embed("a bee"), twice.truncate(64).embed("a bee"), atol=1e-6)
    (tmp_path / "two" / "adapters-1.safetensors").write_bytes(b"broken")
    with pytest.raises(SpaceError, match="adapters"):
        load_space(tmp_path / "two")


def test_wrong_use_is_told_in_a_sentence(tmp_path: Path) -> None:
    space = fake_space()
    with pytest.raises(QueryError, match="no setting 'epoks'"):
        fit(space, [("a", "b"), ("c", "d")], epoks=3)
    with pytest.raises(QueryError, match="loss is clip or siglip"):
        fit(space, [("a", "b"), ("c", "d")], loss="triplet")
    with pytest.raises(QueryError, match="What learns"):
        fit(space, [("a", "b"), ("c", "d")], "body")
    with pytest.raises(QueryError, match="cannot learn from pairs of text"):
        fit(space, [("a", "b"), ("c", "d")], "audio")
    with pytest.raises(QueryError, match="pairs are left to learn from"):
        fit(space, [("a", "b")], validation=0.0)
    with pytest.raises(QueryError, match="batch is at least 2"):
        fit(space, [("a", "b")], batch=1)
    with pytest.raises(QueryError, match="None of the pairs"):
        fit(space, [("a", tmp_path / "nowhere.png")])


def test_texts_learn_from_texts_in_memory() -> None:
    space = fake_space()
    pairs = [(f"word{n}", f"thing{n}") for n in range(24)]
    better = fit(space, pairs, epochs=30, validation=0.0, lose=0.99, hold=0.0, rate=1e-2)
    before = np.diag(space.similarity([a for a, _ in pairs], [b for _, b in pairs])).mean()
    after = np.diag(better.similarity([a for a, _ in pairs], [b for _, b in pairs])).mean()
    assert after > before + 0.2
    assert better["image"].encoder_id == space["image"].encoder_id
