"""Where the parts of an open_clip model lie: architecture, preprocessing, weights, tokenizer.

    MODEL/TAG           of open_clip's list, in the hub's cache
    hf-hub:OWNER/REPO   any repository in open_clip's format, in the hub's cache
    local-dir:FOLDER    a folder in that format
    MODEL@FILE          weights of a training run of one's own, e.g. "ViT-B-32@logs/epoch_30.pt"; with
    MODEL/TAG@FILE      the preprocessing and activation of a tag

Everything is looked up on this machine; the network is asked only where a download is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multimodal import hub
from multimodal.errors import SpaceError, UnknownSpace
from multimodal.hub import Need

CONFIG = "open_clip_config.json"
HUB, FOLDER = "hf-hub:", "local-dir:"
TEXT_MODEL = "text_model"
"""Below a folder: the configuration of a text model of transformers, where the text tower is one."""

WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TOKENIZER = ("tokenizer.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
"""What a tokenizer of transformers is made from; each is whole with what lies beside it."""
BESIDE = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    *TOKENIZER,
)


@dataclass(frozen=True)
class Parts:
    """The parts of one model. `model` is open_clip's name of the architecture, None for a folder that
    describes its own; `tokenizer` and `text_model` are folders in the format of transformers."""

    name: str
    model: str | None
    config: dict[str, Any]
    preprocess: dict[str, Any]
    weights: Path
    tokenizer: Path | None
    text_model: Path | None

    @property
    def folder(self) -> Path:
        """Where the weights lie."""
        return self.weights.parent


def find(name: str, download: bool = False, show: bool = False) -> Parts:
    """The parts of a model, on this machine.

    What is missing is fetched only with `download`, with a bar where `show` says so. Raises UnknownSpace with
    near matches, SpaceError where something is missing or cannot be fetched.
    """
    while True:  # a repository's configuration says what else it needs
        missing, parts = _look(name)
        if parts is not None:
            return parts
        if not download:
            raise SpaceError(
                f"The space {name!r} is not on this machine: run `multimodal spaces fetch {name}`; without a"
                f" network here, {_elsewhere(name)}."
            )
        with reaching(name):
            for need in missing:
                hub.fetch(need, show=show)


def here(name: str) -> bool:
    """Whether a model is on this machine with all that it needs. Raises UnknownSpace."""
    try:
        return _look(name)[1] is not None
    except UnknownSpace:
        raise
    except SpaceError:
        return False


@contextmanager
def reaching(name: str) -> Iterator[None]:
    """Say what to do where the hub cannot be reached. Raises SpaceError."""
    try:
        yield
    except hub.Unreachable as error:
        raise SpaceError(f"{error}: {_elsewhere(name)}.") from error


def _elsewhere(name: str) -> str:
    return (
        f"run `multimodal spaces fetch {name} -o FOLDER` on another machine, copy FOLDER here and give its"
        " path as the space"
    )


def weights_needed(name: str) -> Need | None:
    """The weights of MODEL/TAG or hf-hub:OWNER/REPO on the hub; None for a name that is a file or folder."""
    if name.startswith(HUB):
        return Need(name.removeprefix(HUB), WEIGHTS, ("README.md", *BESIDE, f"{TEXT_MODEL}/*"))
    if name.startswith(FOLDER) or "@" in name:
        return None
    return weights_at(str(_tag(*_split(name))["hf_hub"]))


def weights_at(place: str) -> Need:
    """The weights at OWNER/REPO/ or OWNER/REPO/FILE, safetensors before pickles, as open_clip chooses."""
    owner, repo, *file = place.split("/")
    name = "/".join(file)
    if not name:
        return Need(f"{owner}/{repo}", WEIGHTS, ("README.md",))
    stem, dot, kind = name.rpartition(".")
    safe = (f"{stem}.safetensors",) if dot and kind in ("bin", "pth") else ()
    return Need(f"{owner}/{repo}", (*safe, name), ("README.md",))


def absolute(name: str) -> str:
    """The name with the path in it made absolute, so that it means the same from any folder."""
    if name.startswith(FOLDER):
        return FOLDER + str(Path(name.removeprefix(FOLDER)).expanduser().resolve())
    model, mark, file = name.partition("@")
    if mark and not name.startswith(HUB):
        return f"{model}@{Path(file).expanduser().resolve()}"
    return name


def tokenizer(parts: Parts) -> Any:
    """open_clip's tokenizer of a model. The way of `open_clip.get_tokenizer`, which would ask the hub.

    Raises SpaceError where the tokenizer needs what is not installed.
    """
    from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer

    text = parts.config["text_cfg"]
    length = text.get("context_length", DEFAULT_CONTEXT_LENGTH)
    settings = dict(text.get("tokenizer_kwargs", {}))
    if parts.tokenizer is None:
        return SimpleTokenizer(context_length=length, **settings)
    mode = text.get("tokenizer_mode")
    try:
        return HFTokenizer(str(parts.tokenizer), context_length=length, tokenizer_mode=mode, **settings)
    except ImportError as error:
        raise SpaceError(
            f"The tokenizer of {parts.name!r} needs transformers: pip install 'multimodal[transformers]'."
        ) from error


def _look(name: str) -> tuple[list[Need], Parts | None]:
    """What is missing, or the parts."""
    if name.startswith(FOLDER):
        return _in_folder(name, Path(name.removeprefix(FOLDER)).expanduser())
    if name.startswith(HUB):
        repo = name.removeprefix(HUB)
        needs = [Need(repo, (CONFIG,)), weights_needed(name) or Need(repo, WEIGHTS)]
        found = [need.here() for need in needs]
        if found[0] is None or found[1] is None:
            return [need for need, path in zip(needs, found, strict=True) if path is None], None
        return _in_folder(name, found[0].parent)
    config, preprocess, model = described(name, None)
    if "@" in name:
        weights: Path | None = Path(name.partition("@")[2]).expanduser()
        if weights is not None and not weights.is_file():
            raise SpaceError(f"There is no file {weights} to take the weights of {name!r} from.")
        missing = []
    else:
        need = weights_at(str(_tag(*_split(name))["hf_hub"]))
        weights = need.here()
        missing = [] if weights else [need]
    return _with_texts(name, model, config, preprocess, weights, missing)


def _in_folder(name: str, folder: Path) -> tuple[list[Need], Parts | None]:
    from open_clip.factory import _find_checkpoint_in_dir

    config, preprocess = _read(folder / CONFIG)
    weights = _find_checkpoint_in_dir(folder)
    if weights is None:
        raise SpaceError(f"{folder} cannot be loaded: it holds no weights (.safetensors, .bin or .pth).")
    return _with_texts(name, None, config, preprocess, Path(weights), [], folder)


def _with_texts(
    name: str,
    model: str | None,
    config: dict[str, Any],
    preprocess: dict[str, Any],
    weights: Path | None,
    missing: list[Need],
    folder: Path | None = None,
) -> tuple[list[Need], Parts | None]:
    found: dict[str, Path] = {}
    for key, need in text_needs(config).items():
        path = beside(folder, key) or beside(Path(need.repo), key) or need.here()
        if path is None:
            missing = [*missing, need]
        else:
            found[key] = path.parent
    if missing or weights is None:
        return missing, None
    parts = Parts(name, model, config, preprocess, weights, found.get("tokenizer"), found.get("text_model"))
    return [], parts


def beside(folder: Path | None, key: str) -> Path | None:
    """What a folder has itself of a tokenizer or a text model's configuration (`text_needs`)."""
    if folder is None:
        return None
    names = [f"{TEXT_MODEL}/config.json"] if key == "text_model" else TOKENIZER
    return next((folder / name for name in names if (folder / name).is_file()), None)


def text_needs(config: dict[str, Any]) -> dict[str, Need]:
    """What a text tower needs of transformers' repositories."""
    text, needs = config["text_cfg"], {}
    named = text.get("hf_tokenizer_name")
    if named:
        needs["tokenizer"] = Need(named, TOKENIZER, (*BESIDE, "config.json"))
    if text.get("hf_model_name"):
        needs["text_model"] = Need(text["hf_model_name"], ("config.json",))
    return needs


def described(
    name: str, fetch: Callable[[Need], Path] | None
) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    """Architecture, preprocessing and open_clip's model name of a listed name or a repository's."""
    if name.startswith(HUB):
        need = Need(name.removeprefix(HUB), (CONFIG,))
        path = fetch(need) if fetch else need.here()
        return *_read(path or Path(CONFIG)), None
    import open_clip
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    model, tag = _split(name)
    config = open_clip.get_model_config(model)
    settings = _tag(model, tag) if tag else _shared_settings(model)
    if settings.get("quick_gelu"):  # open_clip only warns where the tag was trained with it
        config["quick_gelu"] = True
    base = {"size": config["vision_cfg"]["image_size"]}
    preprocess = merge_preprocess_dict(merge_preprocess_dict(PreprocessCfg(), base), settings)
    return config, preprocess, model


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        config, given = dict(document["model_cfg"]), dict(document.get("preprocess_cfg", {}))
        if not isinstance(config["text_cfg"], dict) or not isinstance(config["vision_cfg"], dict):
            raise TypeError("no text_cfg and vision_cfg")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpaceError(f"{path} cannot be loaded: {error!r}.") from error
    return config, merge_preprocess_dict(PreprocessCfg(), given)


def _split(name: str) -> tuple[str, str | None]:
    """("MODEL", "TAG") of a listed name, the tag None where a file of weights stands alone."""
    import open_clip

    listed, mark, _ = name.partition("@")
    model, slash, tag = listed.partition("/")
    if mark and not slash and model in open_clip.list_models():
        return model, None
    pairs = {f"{known}/{its}" for known, its in open_clip.list_pretrained()}
    if slash and listed in pairs:
        return model, tag
    raise UnknownSpace(f"There is no space {name!r}{_near(listed, pairs)}.")


def _tag(model: str, tag: str | None) -> dict[str, Any]:
    from open_clip.pretrained import get_pretrained_cfg

    return dict(get_pretrained_cfg(model, tag or ""))


def _shared_settings(model: str) -> dict[str, Any]:
    """The preprocessing on which all published weights of an architecture agree; what they disagree on is
    left to open_clip's defaults. A model trained further saw pictures as the one it began from."""
    from open_clip.pretrained import list_pretrained_tags_by_model

    keys = ("mean", "std", "interpolation", "resize_mode")
    settings = [_tag(model, tag) for tag in list_pretrained_tags_by_model(model)]
    if not settings:
        return {}
    return {key: settings[0][key] for key in keys if all(one[key] == settings[0][key] for one in settings)}


def _near(name: str, pairs: set[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, sorted(pairs), n=5, cutoff=0.5)
    model = name.partition("/")[0]
    close = close or sorted(pair for pair in pairs if pair.split("/")[0].lower() == model.lower())[:5]
    return "; near it: " + ", ".join(close) if close else "; open_clip names are MODEL/TAG"
