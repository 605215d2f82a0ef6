"""Whole spaces on the hub: a saved folder with a model card, pushed to a repository and fetched from one.

A repository holds what `Space.save` writes, so its open_clip part loads in open_clip as well, a README.md
with the metadata of a model card (huggingface_hub's `ModelCardData`), and MARKER, which names the space and
comes last, so that a copy with it is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from multimodal import catalogue, hub
from multimodal.errors import UnknownSpace
from multimodal.hub import Need
from multimodal.towers.folders import filling
from multimodal.towers.parts import CONFIG, HUB, reaching
from multimodal.types import Modality

MARKER = "multimodal.json"
OWN_CARD = "MODEL_CARD.md"
"""A card that a space brings along, as the starter does."""


@dataclass(frozen=True)
class Facts:
    """What a card says of a space."""

    modalities: Sequence[Modality]
    dim: int
    space_id: str
    encoders: Mapping[Modality, str]
    licence: str | None = None


def publish(folder: Path, facts: Facts, repo: str, private: bool, token: str | None) -> str:
    """Add card and marker to a saved space and upload it; gives the address. Raises SpaceError."""
    own = folder / OWN_CARD
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    open_clip = (folder / CONFIG).is_file()
    made_from = config.get("made_from") if open_clip or "made_from" in config else "starter"
    text = card(facts, repo, made_from, open_clip, own.read_text(encoding="utf-8") if own.is_file() else "")
    (folder / "README.md").write_text(text, encoding="utf-8")
    known = {"space_id": facts.space_id, "dim": facts.dim, "encoders": dict(facts.encoders)}
    (folder / MARKER).write_text(json.dumps(known, indent=2), encoding="utf-8")
    return hub.upload(folder, repo, private, f"Space {facts.space_id}", token)


def here(repo: str) -> Path | None:
    """The folder of a pushed space that was fetched whole; the network is not asked."""
    marker = Need(repo, (MARKER,)).here()
    return marker.parent if marker else None


def fetch(repo: str, folder: Path | None = None, show: bool = False) -> Path | None:
    """Download a pushed space to the hub's cache or to `folder`; None where the repository holds none.

    Raises SpaceError.
    """
    need = Need(repo, (MARKER,), ("*",))
    with reaching(HUB + repo):
        if MARKER not in hub.names(repo):
            return None
        if folder is None:
            return hub.fetch(need, show=show).parent
        with filling(folder):
            hub.fetch(need, folder, show)
        return folder


def card(facts: Facts, repo: str, made_from: str | None, open_clip: bool, own: str = "") -> str:
    """The README.md of a repository: metadata, what the space is, how it is loaded.

    `own` is the card that the space brings along, `open_clip` says whether open_clip loads a part of it.
    """
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        license=facts.licence or _licence(made_from),
        library_name="open_clip" if open_clip else "multimodal",
        pipeline_tag="zero-shot-image-classification" if "image" in facts.modalities else None,
        tags=["multimodal", "clip", "cross-modal-retrieval", *facts.modalities],
    )
    origin = f"Made from `{made_from}`. " if made_from else ""
    encoders = "\n".join(f"| {name} | `{made}` |" for name, made in facts.encoders.items())
    return f"""---
{data.to_yaml()}
---

# {repo.rpartition("/")[2]}

{origin}Vectors of {facts.dim} dimensions for {_listed(facts.modalities)}, all in one space:
any of them finds any other.

```python
from pathlib import Path

from multimodal import Space

space = Space.from_hub("{repo}")
space.similarity(Path("photo.jpg"), ["a castle", "a bee"])
```

On the command line: `multimodal spaces fetch hf-hub:{repo}`, then
`multimodal index FOLDER --space hf-hub:{repo}`.
{_in_open_clip(repo) if open_clip else ""}
Vectors of equal ids can be compared; the space's is `{facts.space_id}`.

| encoder | id |
|---|---|
{encoders}
{own and chr(10) + own}"""


def _in_open_clip(repo: str) -> str:
    return f"""
Its text and picture towers alone, in open_clip:

```python
model, preprocess = open_clip.create_model_from_pretrained("hf-hub:{repo}")
tokenizer = open_clip.get_tokenizer("hf-hub:{repo}")
```
"""


def _licence(made_from: str | None) -> str | None:
    try:
        return catalogue.about(made_from or "").licence
    except UnknownSpace:
        return None


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
