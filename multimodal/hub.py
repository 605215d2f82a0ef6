"""Files of public models: what is on this machine, fetching what is not, and checking it by hash.

Through huggingface_hub, in the cache that it shares with open_clip and transformers, with a bar. What it does
not do is done here: interrupted downloads go on where they stopped, and what came is compared with the hash
that the hub names for it (SHA-256 of large files, git's SHA-1 of small ones).
Nothing in this module is called by a search or by `load_space` unless a download was asked for.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from multimodal.errors import SpaceError

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Need:
    """Files of a repository that a model cannot do without: one of `names`, the best first, and beside it
    whatever exists of `also` (names with wildcards)."""

    repo: str
    names: tuple[str, ...]
    also: tuple[str, ...] = ()

    def here(self) -> Path | None:
        """The file on this machine, None where it was not fetched yet; the network is not asked."""
        from huggingface_hub import try_to_load_from_cache

        for name in self.names:
            found = try_to_load_from_cache(self.repo, name)
            if isinstance(found, str):
                return Path(found)
        return None


@dataclass(frozen=True)
class _Remote:
    """A file as the hub describes it; `digest` is the SHA-256 (64 hex digits) or git's SHA-1 (40)."""

    repo: str
    name: str
    size: int
    digest: str | None


def fetch(need: Need, folder: Path | None = None, show: bool = False) -> Path:
    """Download what is needed, into the hub's cache or, where one is given, to `folder`; gives the file.

    What is there is not downloaded again, what was interrupted goes on. `show` draws a bar on standard error.
    Raises SpaceError: no network, no such repository, no right to it, no room, a file of another hash.
    """
    files = {file.name: file for file in _listed(need.repo)}
    main = next((name for name in need.names if name in files), None)
    if main is None:
        raise SpaceError(f"{need.repo} on the hub holds none of {', '.join(need.names)}.")
    beside = [name for name in files if name != main and any(fnmatch(name, like) for like in need.also)]
    with _bars(show):
        for name in beside:
            _downloaded(files[name], folder)
        return _downloaded(files[main], folder)  # last: its presence says that the rest is there


def names(repo: str) -> list[str]:
    """The files of a repository. Raises SpaceError."""
    return [file.name for file in _listed(repo)]


def upload(folder: Path, repo: str, private: bool, message: str, token: str | None) -> str:
    """Make the repository where there is none, upload the folder, give its address. Raises SpaceError."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with _speaking(repo):
        api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message=message)
    return f"{api.endpoint}/{repo}"


@contextmanager
def offline() -> Iterator[None]:
    """Keep huggingface_hub, and what is built on it, from asking the network in the meantime."""
    from huggingface_hub import constants

    with _offline:
        before = constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = True
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = before


_offline = threading.RLock()


def _listed(repo: str) -> list[_Remote]:
    from huggingface_hub import HfApi

    with _speaking(repo):
        info = HfApi().model_info(repo, files_metadata=True)
    return [
        _Remote(repo, file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else file.blob_id)
        for file in info.siblings or []
    ]


def _downloaded(file: _Remote, folder: Path | None) -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.file_download import repo_folder_name

    with _speaking(file.repo):
        if file.digest is None:
            return Path(hf_hub_download(file.repo, file.name, local_dir=folder))
        if folder is None:
            cache, name = Path(constants.HF_HUB_CACHE), repo_folder_name(repo_id=file.repo, repo_type="model")
            _resumed(
                file, cache / name / "blobs" / file.digest, cache / ".locks" / name / f"{file.digest}.part"
            )
            return Path(hf_hub_download(file.repo, file.name))  # finds the blob and gives it its name
        _resumed(file, folder / file.name, folder / ".cache" / "huggingface" / f"{file.digest}.part")
        return folder / file.name


def _resumed(file: _Remote, target: Path, part: Path) -> None:
    """Download to `part`, which later runs go on with, and when its hash is right make it `target`.

    huggingface_hub begins anew where a run was interrupted (since 2.0), so only its single request is used.
    """
    from filelock import FileLock
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    part.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{part}.lock"):
        if target.is_file() and _digest(target, file.digest) == file.digest:
            return
        part.touch()
        with part.open("r+b") as stream:
            had = stream.seek(0, os.SEEK_END)
            url = hf_hub_url(file.repo, file.name)
            if had < file.size:
                _check_room(part.parent, file.size - had, file)
                http_get(url, stream, resume_size=had, headers=build_hf_headers(), expected_size=file.size)
        if _digest(part, file.digest) != file.digest:
            part.unlink()
            raise SpaceError(
                f"{file.name} of {file.repo} came with another hash than the hub names; it was deleted,"
                " fetch it again."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, target)


def _check_room(folder: Path, needed: int, file: _Remote) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SpaceError(
            f"{file.name} of {file.repo} needs {needed / 1e9:.1f} GB more, and {free / 1e9:.1f} GB are free"
            f" in {folder}."
        )


def _digest(path: Path, like: str | None) -> str:
    """The hash of a file, of the same kind as `like`."""
    if like is not None and len(like) == 64:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(usedforsecurity=False)
        digest.update(f"blob {path.stat().st_size}\0".encode())  # how git hashes a file
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _bars(show: bool) -> Iterator[None]:
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    before = are_progress_bars_disabled()
    if not show and not before:
        disable_progress_bars()
    try:
        yield
    finally:
        if not show and not before:
            enable_progress_bars()


@contextmanager
def _speaking(repo: str) -> Iterator[None]:
    """Turn what the hub, the network or the disk object into one sentence. Raises SpaceError, Unreachable."""
    from huggingface_hub import errors

    try:
        yield
    except SpaceError:
        raise
    except errors.GatedRepoError as error:
        raise SpaceError(
            f"{repo} wants its terms accepted on its page first, and then `hf auth login` here."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise SpaceError(f"There is no repository {repo} on the hub, or it is private.") from error
    except errors.HfHubHTTPError as error:
        raise SpaceError(f"The hub refuses {repo}: {_first_line(error)}.") from error
    except Exception as error:  # the HTTP library below huggingface_hub differs from version to version
        offline = isinstance(error, (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError))
        if offline or type(error).__module__.partition(".")[0] in _HTTP or isinstance(error, ConnectionError):
            raise Unreachable(f"The hub cannot be reached for {repo} ({_first_line(error)})") from error
        if isinstance(error, (OSError, ValueError, RuntimeError)):
            raise SpaceError(f"{repo} cannot be transferred: {_first_line(error)}.") from error
        raise


_HTTP = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3"}


class Unreachable(SpaceError):
    """There is no way to the hub from here; the message is the beginning of a sentence."""


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".: ") if lines else type(error).__name__
