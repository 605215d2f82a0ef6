"""What smaller vectors lose on the evaluation sets: a Markdown table on stdout.

    python -m recipes.evaluate_small [--space NAME] [--dims 192 128 64]

Queries and rows are those of `recipes.evaluate`: captions and held-out stamps both ways, captions and
held-out sounds both ways, captions and the moments of all test videos together. Rows are kept as float32,
float16, int8 or as binary codes (`multimodal.library.codes`), of all dimensions or truncated
(`Space.truncate`). "+ rescoring" orders the 40 best candidates of the codes by their float16 rows, which is
how a library searches; "alone" is the order of the codes themselves.

"kept" is R@10 over all queries against that of float32 rows of all dimensions, with a 95 % interval by
bootstrap over the queries, the same draws for both. Features are kept in build/small/.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from multimodal import Space, load_space
from multimodal.library.codes import Codes, Kind
from multimodal.small import Projection, truncated
from multimodal.towers.base import identity
from recipes.evaluate import held_out_stamps, stamp_path
from recipes.evaluate_audio import PROMPT, plain_caption, test_clips
from recipes.evaluate_video import OVERLAP, SECONDS, cut, overlap, scenes

Floats: TypeAlias = NDArray[np.float32]
Order: TypeAlias = Callable[[Floats, Floats], NDArray[np.int64]]
"""Queries (n, dim) and rows (m, dim) to the places (n, 10) of the best rows, best first."""
CACHE = Path(__file__).resolve().parent.parent / "build" / "small"
RANK = 10
CANDIDATES = 40
DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Test:
    """Queries (n, dim), rows (m, dim), and which rows answer which query, (n, m)."""

    name: str
    queries: Floats
    rows: Floats
    right: NDArray[np.bool_]


def tests(space: Space) -> list[Test]:
    """The five tests of a space, embedded once."""
    path = CACHE / f"{identity(*(space[one].encoder_id for one in space))}.npz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            path, **{name: values for part in (_stamps, _sounds, _moments) for name, values in part(space)}
        )
    with np.load(path) as kept:
        held = {name: kept[name] for name in kept.files}
    found = []
    for query, row in (("caption", "stamp"), ("saying", "sound"), ("scene", "moment")):
        right = held[f"{query}.{row}"]
        found.append(Test(f"{query} to {row}", held[query], held[row], right))
        if row != "moment":
            found.append(Test(f"{row} to {query}", held[row], held[query], right.T))
    return found


def _stamps(space: Space) -> Iterator[tuple[str, NDArray[np.generic]]]:
    pictures = held_out_stamps()
    yield "caption", space.embed([picture.captions[0] for picture in pictures])
    yield "stamp", space.embed([stamp_path(picture) for picture in pictures])
    yield "caption.stamp", np.eye(len(pictures), dtype=bool)


def _sounds(space: Space) -> Iterator[tuple[str, NDArray[np.generic]]]:
    clips, sounds, _ = test_clips()
    names = np.array([plain_caption(clip.caption or "") for clip in clips])
    yield "saying", space.embed([PROMPT.format(name) for name in names])
    yield "sound", space.embed(sounds)
    yield "saying.sound", names[:, None] == names[None, :]


def _moments(space: Space) -> Iterator[tuple[str, NDArray[np.generic]]]:
    captions: list[str] = []
    asked: list[tuple[int, float]] = []
    vectors: list[Floats] = []
    shown: list[tuple[int, float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, pictures in enumerate(scenes(held_out_stamps())):
            path = Path(folder) / f"{number}.mp4"
            cut(pictures, path)
            segments = [segment for segment in space.read(path) if segment.modality == "video"]
            vectors.append(space.embed(segments))
            shown += [(number, segment.start or 0.0, segment.end or 0.0) for segment in segments]
            captions += [picture.captions[0] for picture in pictures]
            asked += [(number, place * SECONDS) for place in range(len(pictures))]
    yield "scene", space.embed(captions)
    yield "moment", np.concatenate(vectors)
    yield (
        "scene.moment",
        np.array(
            [
                [
                    video == other and overlap(begin, begin + SECONDS, start, end) >= OVERLAP
                    for other, start, end in shown
                ]
                for video, begin in asked
            ]
        ),
    )


def exactly(queries: Floats, rows: Floats) -> NDArray[np.int64]:
    return np.argsort(-(queries @ rows.T), axis=1, kind="stable")[:, :RANK]


def in_half(queries: Floats, rows: Floats) -> NDArray[np.int64]:
    return exactly(queries, rows.astype(np.float16).astype(np.float32))


def coded(kind: Kind, rescored: bool) -> Order:
    """The order of codes, fitted to the rows themselves, or of their candidates' float16 rows."""

    def order(queries: Floats, rows: Floats) -> NDArray[np.int64]:
        codes = Codes.of(rows, kind)
        codes.add(rows)
        most = CANDIDATES if rescored else RANK
        places = np.asarray(codes.index.search(np.ascontiguousarray(queries), most)[1], np.int64)
        if not rescored:
            return places
        half = rows.astype(np.float16).astype(np.float32)
        scores = np.einsum("nd,ncd->nc", queries, half[places])
        scores[places < 0] = -np.inf
        return np.take_along_axis(places, np.argsort(-scores, axis=1, kind="stable")[:, :RANK], axis=1)

    return order


ORDERS: Mapping[str, tuple[Callable[[int], float], Order]] = {
    "float32": (lambda dim: 4 * dim, exactly),
    "float16": (lambda dim: 2 * dim, in_half),
    "int8 alone": (lambda dim: dim, coded("int8", False)),
    "int8 + rescoring": (lambda dim: dim, coded("int8", True)),
    "binary alone": (lambda dim: dim / 8 + 8, coded("binary", False)),
    "binary + rescoring": (lambda dim: dim / 8 + 8, coded("binary", True)),
}
"""Kinds of storage, with the bytes of a row that are scanned."""


def found(test: Test, projection: Projection | None, order: Order) -> NDArray[np.bool_]:
    """Which queries (n,) have a right row among the first ten; those without any right row are left out."""
    queries, rows = test.queries, test.rows
    if projection is not None:
        queries, rows = projection(queries), projection(rows)
    places = order(queries, rows)
    hits = np.take_along_axis(test.right, np.maximum(places, 0), axis=1) & (places >= 0)
    answered = test.right.any(axis=1)
    return np.asarray(hits.any(axis=1)[answered])


def kept(hits: NDArray[np.bool_], reference: NDArray[np.bool_], seed: int = 0) -> tuple[float, float, float]:
    """Share of the reference's R@10 that `hits` keeps, and its 95 % interval."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(hits), (DRAWS, len(hits)))
    shares = hits[drawn].mean(axis=1) / reference[drawn].mean(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(hits.mean() / reference.mean()), float(low), float(high)


def table(space: Space, dims: list[int]) -> Iterator[str]:
    """Lines of Markdown."""
    chosen = tests(space)
    full = [found(test, None, exactly) for test in chosen]
    names = " | ".join(f"{test.name} ({len(hits)})" for test, hits in zip(chosen, full, strict=True))
    yield f"R@10, {space.name} ({space.dim} dimensions), {sum(map(len, full))} queries; n in brackets\n"
    yield f"| dimensions | rows | bytes scanned | {names} | kept, all queries |"
    yield "|---|---|---|" + "---|" * (len(chosen) + 1)
    for dim in [space.dim, *dims]:
        source = truncated(space._source, dim) if dim < space.dim else None
        for name, (size, order) in ORDERS.items():
            hits = [found(test, source.projection if source else None, order) for test in chosen]
            share, low, high = kept(np.concatenate(hits), np.concatenate(full))
            cells = " | ".join(f"{one.mean():.3f}" for one in hits)
            yield f"| {dim} | {name} | {size(dim):.0f} | {cells} | {share:.3f} [{low:.3f}, {high:.3f}] |"


def main() -> None:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--space", default="starter")
    parser.add_argument("--dims", type=int, nargs="*", help="by default a half, a quarter and an eighth")
    arguments = parser.parse_args()
    space = load_space(arguments.space)
    for line in table(space, arguments.dims or [space.dim // 2, space.dim // 4, space.dim // 8]):
        print(line, flush=True)


if __name__ == "__main__":
    main()
