"""The command that times a space on this machine: benchmark."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer

from multimodal.commands.common import SpaceOption
from multimodal.errors import SpaceError
from multimodal.phrases import everyday

if TYPE_CHECKING:
    from multimodal.precision import Compute
    from multimodal.space import Space
    from multimodal.types import Modality

LEAST_ROUNDS = 3
SOUND_SECONDS = 5.0
ACCURACY = "1 - cosine"


@dataclass(frozen=True)
class Speed:
    """How fast one tower is in one mode. `cosine` is the least of its probe with float32; None where the
    mode is the only one. `problem` says why there are no numbers."""

    modality: str
    backend: str
    asked: str
    precision: str = ""
    per_second: float = 0.0
    cosine: float | None = None
    problem: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether "auto" would take it: rows that agree with float32 to the tolerance."""
        from multimodal.precision import TOLERANCE

        return self.problem is None and (self.cosine is None or self.cosine >= TOLERANCE)


def benchmark(
    space: SpaceOption = "starter",
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pictures, texts or sounds at once.")] = 16,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Least time for each line.")] = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Time the towers of a space on this machine in each precision, and say how near each is to float32.

    Prepared contents go through the towers alone: reading and decoding files is not in the figures.
    """
    found = []
    for speed in speeds(space, batch, seconds):
        found.append(speed)
        if not as_json:
            _note(speed)
    if as_json:
        rows = [{**asdict(speed), "accepted": speed.accepted} for speed in found]
        print(json.dumps({"space": space, "batch": batch, "machine": machine(), "speeds": rows}, indent=1))
    else:
        _print_table(found, space, batch)


def speeds(name: str, batch: int, seconds: float) -> Iterator[Speed]:
    """Every tower of a space in every mode that this machine could run it in. Raises SpaceError."""
    from multimodal.space import load_space

    for compute in modes(name):
        options: dict[str, Any] = {"precision": compute.precision, "backend": compute.backend}
        try:
            space = load_space(name, **options)
        except SpaceError:
            if compute.precision == "fp32" and compute.backend == "torch":
                raise
            continue  # a starter has one mode
        wanted: list[Modality] = ["image"] if compute.backend == "openvino" else ["image", "text", "audio"]
        for modality in wanted:
            if modality in space:
                yield _speed(space, modality, compute, batch, seconds)


def modes(name: str) -> list[Compute]:
    """What to try: float32 first; reduced ones for open_clip models only."""
    from multimodal.precision import Compute, cpu_has_bf16

    found = [Compute("fp32", "torch")]
    if name.split("#")[0] == "starter":
        return found
    import torch

    if torch.cuda.is_available():
        found += [Compute("fp16", "torch"), Compute("bf16", "torch")]
    elif cpu_has_bf16():
        found.append(Compute("bf16", "torch"))
    if not torch.cuda.is_available() and find_spec("openvino") is not None:
        found.append(Compute("fp32", "openvino"))
        if cpu_has_bf16():
            found.append(Compute("bf16", "openvino"))
        found.append(Compute("int8", "openvino"))
    return found


def _speed(space: Space, modality: Modality, compute: Compute, batch: int, seconds: float) -> Speed:
    try:
        tower = space[modality].tower
        prepared = [tower.preprocess(content) for content in _contents(modality, batch)]
        rate = per_second(lambda: tower.forward(prepared), batch, seconds)
    except (SpaceError, RuntimeError) as error:  # int8 that was never made; an operation torch has not
        reason = str(error).strip().splitlines()[0]
        return Speed(modality, compute.backend, compute.precision, problem=reason)
    inner = getattr(tower, "inner", tower)
    chosen = getattr(inner, "chosen", None)
    if chosen is None:
        return Speed(modality, "onnxruntime" if modality != "text" else "numpy", "fp32", "fp32", rate)
    return Speed(modality, compute.backend, compute.precision, chosen.precision, rate, chosen.cosine)


def _contents(modality: Modality, count: int) -> Sequence[Any]:
    """Contents that are the same on every machine: probe pictures, bundled phrases, tones."""
    import numpy as np

    if modality == "text":
        phrases = everyday()
        return [phrases[number % len(phrases)] for number in range(count)]
    if modality == "audio":
        from multimodal.types import Audio

        times = np.arange(int(SOUND_SECONDS * 16_000)) / 16_000
        tones = [np.sin(times * 6.283 * (200 + 50 * number)) / 3 for number in range(count)]
        return [Audio(tone.astype(np.float32), 16_000) for tone in tones]
    from PIL import Image

    from multimodal.precision import probe_pictures

    return [Image.fromarray(pixels) for pixels in probe_pictures((384, 384), count)]


def per_second(once: Callable[[], object], count: int, seconds: float) -> float:
    """Contents a second of a call that takes `count`: the median of at least three calls after a first."""
    once()
    times: list[float] = []
    while len(times) < LEAST_ROUNDS or sum(times) < seconds:
        began = time.perf_counter()
        once()
        times.append(time.perf_counter() - began)
    return count / statistics.median(times)


def machine() -> str:
    """The processor or GPU that the figures are of."""
    import os
    import platform

    from multimodal.precision import cpu_name

    if find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name(0)
    return f"{cpu_name()}, {os.cpu_count()} cores, {platform.system()}"


def _note(speed: Speed) -> None:
    import sys

    if sys.stderr.isatty():
        done = speed.problem or f"{speed.per_second:.1f} a second"
        print(f"  {speed.modality} {speed.backend} {speed.asked}: {done}", file=sys.stderr)


def _print_table(found: Sequence[Speed], space: str, batch: int) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    title = f"space {space}, {batch} at once, {machine()}"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    for name in ("tower", "backend", "precision"):
        table.add_column(name, no_wrap=True)
    for name in ("a second", "against fp32", ACCURACY):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    base = {speed.modality: speed.per_second for speed in reversed(found) if speed.precision == "fp32"}
    for speed in sorted(found, key=lambda speed: speed.modality):
        if speed.problem is not None:
            table.add_row(speed.modality, speed.backend, speed.asked, "", "", "", speed.problem)
            continue
        times = f"{speed.per_second / base[speed.modality]:.2f} times" if speed.modality in base else ""
        away = "" if speed.cosine is None else f"{max(0.0, 1 - speed.cosine):.1e}"
        verdict = (
            "" if speed.accepted else "rows of their own" if speed.asked == "int8" else "refused by auto"
        )
        rate = f"{speed.per_second:.1f}"
        table.add_row(speed.modality, speed.backend, speed.precision, rate, times, away, verdict)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(table)
