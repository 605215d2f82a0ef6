"""A space: one encoder per modality, all into the same vectors. This is the table of the package."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from multimodal import readers
from multimodal.encoder import Encoder
from multimodal.errors import NoEncoder, QueryError, ReadError, SpaceError
from multimodal.precision import Backend, Compute, Precision
from multimodal.query import Query
from multimodal.sources import Source, source
from multimodal.towers.base import unit
from multimodal.types import Audio, Clip, Content, Item, Match, Modality, Segment, Vectors

if TYPE_CHECKING:
    from multimodal.explain import Explanation, Tokens
    from multimodal.labels import Label
    from multimodal.matching import Assignment


class Space(Mapping[Modality, Encoder]):
    """Text, images, videos and sounds as unit vectors of one space.

    `space["image"]` is the image encoder; iterating gives the modalities the space has. Rows are
    float32, unit length, shape (n, dim).
    """

    def __init__(self, parts: Source) -> None:
        self._source = parts
        self.name = parts.name
        self.logit_scale = parts.logit_scale
        self.logit_bias: float | None = getattr(parts, "logit_bias", None)
        self._scales: Mapping[Modality, float] = getattr(parts, "logit_scales", {})
        self.read_options = replace(parts.read_options, modalities=tuple(parts.modalities))

    def __getitem__(self, modality: Modality) -> Encoder:
        """The encoder of a modality. Raises NoEncoder."""
        if modality not in self._source.modalities:
            raise NoEncoder(f"The space {self.name!r} has no {modality} encoder.")
        return self._source.build(modality)

    def __iter__(self) -> Iterator[Modality]:
        return iter(self._source.modalities)

    def __len__(self) -> int:
        return len(self._source.modalities)

    def __contains__(self, modality: object) -> bool:
        return modality in self._source.modalities

    def __repr__(self) -> str:
        return f"Space({self.name!r}, {', '.join(self)}, dim={self.dim})"

    @property
    def dim(self) -> int:
        return self["text"].dim

    @property
    def space_id(self) -> str:
        """Names the shared space itself: the text encoder that all others are fitted to.

        A retrained image or audio encoder keeps it (only that modality's rows become stale).
        """
        return self["text"].encoder_id

    @property
    def bank(self) -> Mapping[str, NDArray[np.floating]] | None:
        """Vectors of generic queries by modality, and mean rows as "centre.text"..., that searches are
        judged by (`multimodal.library.bank`); None where a space ships none."""
        return self._source.bank

    def read(self, path: str | Path) -> Iterator[Segment]:
        """The segments of a file, cut the way this space embeds them. Raises ReadError."""
        return readers.read(Path(path), self.read_options)

    def embed(self, items: Item | Sequence[Item]) -> Vectors:
        """One unit row per item, (n, dim) float32, in the order given; a single item gives (1, dim).

        A path gives the mean of its segments (a video that of its pictures; its sound track only
        where it has no pictures). Raises ReadError for a file that cannot be read, QueryError for an
        empty text or an object of no known kind, NoEncoder.
        """
        found = self.embed_each([items] if _is_single(items) else list(items))  # type: ignore[arg-type, list-item]
        return np.stack([row for _, row in found]) if found else np.zeros((0, self.dim), np.float32)

    def embed_each(self, items: Sequence[Item]) -> list[tuple[Modality, NDArray[np.float32]]]:
        """As `embed`, of each item what it is and its unit row (dim,)."""
        found: dict[int, tuple[Modality, NDArray[np.float32]]] = {}
        contents: dict[Modality, list[tuple[int, Content]]] = {}
        for position, item in enumerate(items):
            if isinstance(item, Path):
                found[position] = self.embed_file(item)
            else:
                modality, content = modality_of(item)
                contents.setdefault(modality, []).append((position, content))
        for modality, entries in contents.items():
            encoded = self[modality].encode(content for _, content in entries)
            for (position, _), row in zip(entries, encoded, strict=True):
                found[position] = modality, row
        return [found[position] for position in range(len(found))]

    def embed_file(self, path: str | Path) -> tuple[Modality, NDArray[np.float32]]:
        """What a file mostly is, and the unit mean (dim,) of its segments of that modality.

        Streamed in small groups: a long video is never held whole. Silence and black count for nothing.
        Raises ReadError, NoEncoder.
        """
        total, modality = np.zeros(self.dim, np.float64), None
        seen = (segment for segment in self.read(path) if segment.role != "blank")
        for group in _grouped(seen, 8):
            modality = modality or group[0].modality
            wanted = [segment.content for segment in group if segment.modality == modality]
            total += self[modality].encode(wanted).sum(axis=0)
            if len(wanted) < len(group):  # the sound track begins
                break
        if modality is None:
            raise ReadError(f"{path} holds nothing to embed")
        return modality, unit(total)

    def query(self, item: Query | Item, at: float | None = None) -> Query:
        """A query to add to, to take from and to search with: `space.query("beach") + Path("dog.jpg")`.

        `at` are seconds: the moment of a file rather than the mean of the whole. Raises QueryError.
        """
        return Query.of(item, at)

    def scale(self, one: Modality, other: Modality = "text") -> float:
        """What cosines of two modalities are multiplied by before a softmax makes probabilities of them.

        The logit scale, but for modalities whose cosines lie closer together or farther apart than others',
        which have scales of their own (temperature scaling; Guo et al. 2017).
        """
        ratios = (
            self._scales.get(modality, self.logit_scale) / self.logit_scale for modality in (one, other)
        )
        return self.logit_scale * math.prod(ratios)

    def similarity(self, a: Item | Sequence[Item], b: Item | Sequence[Item]) -> NDArray[np.float32]:
        """Cosines (n, m) of every item of `a` with every item of `b`, in [-1, 1]."""
        return self.embed(a) @ self.embed(b).T

    @overload
    def match(self, media: list[Any] | tuple[Any, ...], captions: Sequence[str]) -> list[list[Match]]: ...
    @overload
    def match(self, media: Item, captions: Sequence[str]) -> list[Match]: ...
    def match(self, media: Any, captions: Sequence[str]) -> Any:
        """Captions ranked for an image, video, sound or text, best first; for a list of items, a list each.

        Probabilities are the softmax of cosines times the logit scale (`scale`) and sum to 1 over the
        captions given. A space with a `logit_bias` (SigLIP; Zhai et al. 2023) judges each caption by itself:
        the sigmoid of scale times cosine plus bias. The margin is the cosine above the next best caption (for
        the last: 0). Raises QueryError without captions.
        """
        from multimodal import matching

        if isinstance(media, (list, tuple)):
            return matching.match_each(self, media, captions)
        return matching.match_each(self, [media], captions)[0]

    def assign(self, items: Sequence[Item], captions: Sequence[str]) -> Assignment:
        """One caption for each item, no caption twice, the sum of cosines the largest there is; says which
        pairs are doubtful (`multimodal.matching.assign`). Raises QueryError."""
        from multimodal import matching

        return matching.assign(self, items, captions)

    def classify(
        self,
        media: Item,
        labels: Sequence[str] | Mapping[str, Any],
        templates: Sequence[str] | Mapping[Modality, Sequence[str]] | None = None,
        none: bool = False,
    ) -> list[Label]:
        """Which of some labels an item is, most probable first, without training.

        Labels may lie below each other ({"animal": ["cat", "dog"]}, or "animal > cat"); a label's probability
        is then the sum of those below. `templates` are sentences with "{}" for the label (for each modality,
        where a mapping); by default several that suit the modality of the item, whose mean is compared.
        With `none` an item may be "none of these". `multimodal.labels.Classifier` keeps the labels for many
        items. Raises QueryError, ReadError, NoEncoder.
        """
        from multimodal.labels import Classifier

        return Classifier(self, labels, templates, none)(_file_or_segment(media))

    def frame_weights(self, clip: Clip) -> NDArray[np.float32]:
        """Temporal attention of a clip: how much each frame counts, (t,), sums to 1."""
        weights = getattr(self["video"].tower, "frame_weights", None)
        if weights is None:
            raise SpaceError(f"The video encoder of {self.name!r} keeps no frame weights.")
        return weights(clip)

    def tokens(self, item: Item, start: float | None = None, end: float | None = None) -> Tokens:
        """The parts a tower sees of an item, each with its place, its unit row and its attention weight.

        Sub-words with their characters, patches with their boxes in pixels, frames with their times,
        patches of spectrograms with seconds and Hz. `start` and `end` are seconds of a file: those of
        which at most ten minutes are taken at once. Raises ReadError, NoEncoder, QueryError.
        """
        from multimodal import explain

        return explain.tokens(self, _file_or_segment(item), start, end)

    def explain(
        self,
        media: Item,
        query: Query | Item | None = None,
        start: float | None = None,
        end: float | None = None,
    ) -> Explanation:
        """Which words, places, frames or sounds of an item speak for a query; `.save()` draws it.

        The query may be of any modality; without one it is the item itself: what carries its vector. Of a
        file with several passages or pages the one nearest to the query is explained. `start` and `end` as
        for `tokens`. Deterministic. Raises ReadError, NoEncoder, QueryError.
        """
        from multimodal import explain

        asked = None if query is None else explain.asked(self, query, _file_or_segment)
        return explain.explain(self, _file_or_segment(media), asked, start, end)

    def truncate(
        self,
        dim: int,
        rows: Mapping[Modality, NDArray[np.floating]] | None = None,
        matryoshka: bool | None = None,
    ) -> Space:
        """This space with rows of `dim` dimensions: another space, with an id of its own; all modalities.

        The first dimensions where the model was trained for it (its configuration says so, or
        `matryoshka`); else the main directions of generic rows (`multimodal.small`), which the starter
        ships. Another space needs samples: `rows` are some hundreds of its unit rows (n, dim) of each
        modality but text. Save the result; that of the starter is `load_space("starter#192")` as well.
        Raises SpaceError.
        """
        from multimodal.small import truncated

        return Space(truncated(self._source, dim, rows, matryoshka))

    def push(
        self, repo_id: str, *, private: bool = False, licence: str | None = None, token: str | None = None
    ) -> str:
        """Upload the space with a model card to OWNER/NAME on the hub, made where there is none; its address.

        `licence` is an identifier of the hub's ("mit"), by default that of the published weights.
        Raises SpaceError.
        """
        from tempfile import TemporaryDirectory

        from multimodal.sharing import Facts, publish

        encoders = {modality: self[modality].encoder_id for modality in self}
        facts = Facts(tuple(self), self.dim, self.space_id, encoders, licence)
        with TemporaryDirectory() as folder:
            return publish(self.save(Path(folder) / "space"), facts, repo_id, private, token)

    @staticmethod
    def from_hub(repo_id: str) -> Space:
        """The space or open_clip model in a repository OWNER/NAME of the hub, downloaded where it is not on
        this machine. Raises SpaceError."""
        return load_space(f"hf-hub:{repo_id}", download=True)

    def save(self, folder: str | Path) -> Path:
        """Write the space to a new or empty folder that `load_space` reads. Raises SpaceError."""
        target = Path(folder)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise SpaceError(f"{target} already exists and is not an empty folder.")
        target.mkdir(parents=True, exist_ok=True)
        self._source.save(target)
        return target


def load_space(
    name: str | Path = "starter",
    download: bool = False,
    *,
    precision: Precision = "auto",
    backend: Backend = "auto",
    compiled: bool = False,
    device: str | None = None,
) -> Space:
    """The embedded starter, an open_clip model, or the folder of a saved space.

    open_clip models go by `MODEL/TAG`, `hf-hub:OWNER/REPO`, `local-dir:FOLDER`, or `MODEL@FILE` for weights
    of one's own. Nothing is downloaded unless `download` says so; `multimodal spaces fetch` does the same.

    `precision` is "auto", "fp32", "bf16", "fp16" or "int8"; auto takes bf16 where the processor has it, a
    half on a GPU, and goes back to fp32 where the model's rows would differ (`multimodal.precision`).
    `backend` "openvino" runs the picture tower there, "auto" goes over to it where it proves faster;
    `compiled` runs towers through `torch.compile`; `device` is as torch names it, by default the first GPU,
    else the CPU. All four are for open_clip models.

    Raises UnknownSpace with near matches, SpaceError where weights are missing or damaged.
    """
    return Space(source(str(name), download, Compute(precision, backend, compiled, device)))


def modality_of(item: object) -> tuple[Modality, Content]:
    """What an object in memory is, and its content. Raises QueryError; nothing is guessed from shapes."""
    if isinstance(item, Segment):
        return item.modality, item.content
    if isinstance(item, str):
        if not item.strip():
            raise QueryError("The text is empty.")
        return "text", item
    if isinstance(item, Audio):
        return "audio", item
    if isinstance(item, Clip):
        return "video", item
    from PIL.Image import Image

    if isinstance(item, Image):
        return "image", item
    raise QueryError(
        f"{type(item).__name__} is no item: give a str (text), a Path (file), a PIL image,"
        " Audio(samples, rate) or Clip(frames, times)."
    )


def _grouped(segments: Iterable[Segment], size: int) -> Iterator[list[Segment]]:
    """Segments in lists of at most `size`."""
    group: list[Segment] = []
    for segment in segments:
        group.append(segment)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _file_or_segment(item: Item) -> Path | Segment:
    """A file as it is, anything in memory as a segment. Raises QueryError."""
    if isinstance(item, (Path, Segment)):
        return item
    return Segment(*modality_of(item))


def _is_single(items: object) -> bool:
    return isinstance(items, (str, Mapping)) or not isinstance(items, Iterable)


__all__ = ["Item", "Space", "load_space", "modality_of"]
