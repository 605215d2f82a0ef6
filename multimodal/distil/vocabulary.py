"""A WordPiece tokenizer with the sub-words that some texts need."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError

LETTERS = 0x250
"""Single characters below (Latin) always stay, so that any word of theirs can be spelled."""


def cut(path: Path, texts: Sequence[str], most: int) -> tuple[str, NDArray[np.int64]]:
    """The tokenizer.json at `path` with at most `most` sub-words, and the ids (v,) they had, ascending.

    Special tokens and single letters stay, then what is most frequent in the texts; what is left goes to the
    smallest ids, which BERT gave to the most frequent words of English. Raises SpaceError.
    """
    from tokenizers import Tokenizer

    document = json.loads(path.read_text(encoding="utf-8"))
    model = document["model"]
    if model.get("type") != "WordPiece":
        raise SpaceError(f"{path} is no WordPiece tokenizer: it cannot be cut.")
    vocabulary: dict[str, int] = model["vocab"]
    prefix = str(model.get("continuing_subword_prefix", "##"))
    special = {str(token["content"]) for token in document["added_tokens"]}
    letters = [token for token in vocabulary if _letter(token.removeprefix(prefix))]
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    counts: Counter[str] = Counter()
    for found in tokenizer.encode_batch(list(texts)):
        counts.update(found.tokens)
    frequent = sorted(counts, key=lambda token: (-counts[token], vocabulary[token]))
    common = sorted(vocabulary, key=lambda token: vocabulary[token])
    usual = [token for token in common if len(token.removeprefix(prefix)) > 1 and "[unused" not in token]
    needed = [token for token in common if token in special and token in vocabulary]
    chosen = list(dict.fromkeys([*needed, *letters, *frequent, *usual]))[
        : max(most, len(needed) + len(letters))
    ]
    ids = sorted(vocabulary[token] for token in chosen)
    return _renumbered(document, ids), np.array(ids, np.int64)


def _letter(token: str) -> bool:
    return len(token) == 1 and ord(token) < LETTERS


def _renumbered(document: dict[str, Any], ids: Sequence[int]) -> str:
    """A tokenizer of the sub-words `ids` alone, numbered in their order."""
    new = {old: number for number, old in enumerate(ids)}
    model = document["model"]
    kept = sorted((place, token) for token, place in model["vocab"].items() if place in new)
    model["vocab"] = {token: new[place] for place, token in kept}
    document["added_tokens"] = [
        {**token, "id": new[token["id"]]} for token in document["added_tokens"] if token["id"] in new
    ]
    after = document.get("post_processor") or {}
    for token in after.get("special_tokens", {}).values():
        token["ids"] = [new[old] for old in token["ids"]]
    for name in ("sep", "cls"):  # BertProcessing writes [token, id]
        if isinstance(after.get(name), list):
            after[name][1] = new[after[name][1]]
    document["padding"] = document["truncation"] = None
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
