"""A space with smaller towers that learned from its own: `multimodal.distil` makes them.

config.json   kind, and what each student is
students/     their weights
teacher/      the space they learned from, without the weights that they replace
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.encoder import Encoder
from multimodal.errors import SpaceError
from multimodal.phrases import retold
from multimodal.towers.video import TemporalPooler, VideoTower
from multimodal.types import Modality, ReadOptions

if TYPE_CHECKING:
    from multimodal.sources import Source

KIND = "distilled"
CONFIG = "config.json"
STUDENTS, TEACHER = "students", "teacher"
POOLER = "pooler.safetensors"


class WithStudent:
    """Another space's source, one tower replaced by a student; its name loads it again once it was saved.

    `folder` holds the student's files, `about` its sizes; {"text": ...} or {"image": ...}.
    """

    def __init__(
        self, teacher: Source, folder: Path, about: Mapping[str, Any], name: str | None = None
    ) -> None:
        self._teacher, self._folder, self.about = teacher, folder, dict(about)
        self.name = name or f"{teacher.name}+{KIND}"

    def __getattr__(self, name: str) -> Any:
        """What else the teacher has to say of itself: its logit bias, its licence ..."""
        if name.startswith("_"):  # also keeps unpickling, before `_teacher` is there, from recursing
            raise AttributeError(name)
        return getattr(self._teacher, name)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return self._teacher.modalities

    @property
    def logit_scale(self) -> float:
        return self._teacher.logit_scale

    @property
    def read_options(self) -> ReadOptions:
        options = self._teacher.read_options
        if "image" not in self.about or options.min_side is None:
            return options
        return replace(options, min_side=max(options.min_side, int(self.about["image"]["size"])))

    @property
    def size(self) -> int:
        """Bytes of the student's files."""
        return sum(path.stat().st_size for path in self._folder.iterdir())

    @cached_property
    def bank(self) -> Mapping[str, NDArray[np.floating]] | None:
        """The teacher's; its phrases as the student embeds them, which has no other rows to be judged by."""
        bank = self._teacher.bank
        if bank is None or "text" not in self.about:
            return bank
        return retold(bank, self.build("text"))

    def build(self, modality: Modality) -> Encoder:
        if modality == "text" and "text" in self.about:
            return self._text
        if modality == "image" and "image" in self.about:
            return self._image
        if modality == "video" and "image" in self.about:
            return self._video
        return self._teacher.build(modality)

    @cached_property
    def _text(self) -> Encoder:
        from multimodal.towers.student import StudentText

        about = self.about["text"]
        return Encoder(
            "text", StudentText(self._folder / about["weights"], self._folder / about["tokenizer"], about)
        )

    @cached_property
    def _image(self) -> Encoder:
        from multimodal.towers.student import StudentImage

        about = self.about["image"]
        return Encoder("image", StudentImage(self._folder / about["weights"], about))

    @cached_property
    def _video(self) -> Encoder:
        path = self._folder / POOLER
        return Encoder(
            "video", VideoTower(self._image, TemporalPooler.load(path) if path.is_file() else None)
        )

    def save(self, folder: Path) -> None:
        teacher = folder / TEACHER
        teacher.mkdir()
        self._teacher.save(teacher)
        for modality in self.about:
            _thinned(teacher, modality)
        shutil.copytree(self._folder, folder / STUDENTS)
        made_from = getattr(self._teacher, "made_from", "starter")
        config = {"kind": KIND, "made_from": made_from, STUDENTS: self.about}
        (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def taught(teacher: Source, write: Callable[[Path], Mapping[str, Any]]) -> WithStudent:
    """The source with a student that `write` puts into a folder, giving its `about`.

    The folder is a temporary one, which lives as long as the source."""
    folder = Path(tempfile.mkdtemp(prefix="multimodal-student-"))
    made = WithStudent(teacher, folder, write(folder))
    weakref.finalize(made, shutil.rmtree, folder, ignore_errors=True)
    if "image" in made.about and "video" in teacher.modalities:
        pooler = getattr(teacher.build("video").tower, "pooler", None)
        if pooler is not None and pooler.w.any():
            pooler.save(folder / POOLER)
    return made


def saved(folder: Path, config: Mapping[str, Any], load: Callable[[Path], Source]) -> WithStudent:
    """What `WithStudent.save` wrote; `load` reads the teacher's folder. Raises SpaceError."""
    about = config.get(STUDENTS)
    if not isinstance(about, dict) or not set(about) <= {"text", "image"}:
        raise SpaceError(f"{folder / CONFIG} cannot be read: it does not say which students it has.")
    return WithStudent(load(folder / TEACHER), folder / STUDENTS, about, name=str(folder))


def _thinned(folder: Path, modality: str) -> None:
    """Take the weights of a modality out of a folder in the starter's format, and leave other kinds alone."""
    path = folder / CONFIG
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    part = config.get(modality)
    for key in ("weights", "graph", "tokenizer"):
        if isinstance(part, dict) and key in part:
            (folder / part[key]).unlink(missing_ok=True)
