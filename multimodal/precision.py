"""The precision that large towers compute in: chosen for the machine, checked against float32, or forced.

Weights are kept as they came. Products of bfloat16 or float16 numbers are added up in float32; the pixels'
normalisation and the last scaling to unit length are always float32. Rows of fp32, bf16 and fp16 agree to a
cosine of TOLERANCE or better, so they share an encoder id and mix in one library; int8 rows do not.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from multimodal.errors import SpaceError

Precision: TypeAlias = Literal["auto", "fp32", "bf16", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Backend: TypeAlias = Literal["auto", "torch", "openvino"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)

TOLERANCE = 0.9995
"""Least cosine of a row with that of float32: below, "auto" goes on in float32."""
ALIKE = {"fp32", "bf16", "fp16"}
"""Precisions whose rows are taken for the same."""

Floats = NDArray[np.float32]
Run: TypeAlias = Callable[[NDArray[Any]], Floats]
"""One forward pass: a batch (n, ...) to features (n, dim)."""


@dataclass(frozen=True)
class Compute:
    """How towers compute: what was asked for, where, and whether torch compiles the networks first."""

    precision: Precision = "auto"
    backend: Backend = "auto"
    """Of picture towers. "auto" is torch, and on CPUs OpenVINO once enough pictures went through to tell that
    it is faster (`multimodal.towers.faster`)."""
    compiled: bool = False
    """`torch.compile`: a minute once for each shape of batch, worth it for long runs on GPUs."""
    device: str | None = None
    """As torch names it ("cpu", "cuda:1"); None takes the first GPU, else the CPU."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise SpaceError(f"precision is one of {', '.join(PRECISIONS)}, not {self.precision!r}.")
        if self.backend not in BACKENDS:
            raise SpaceError(f"backend is one of {', '.join(BACKENDS)}, not {self.backend!r}.")
        if self.backend != "openvino" and self.precision == "int8":
            raise SpaceError("int8 needs the backend 'openvino', and a space that was quantised and saved.")
        if self.backend == "openvino" and self.compiled:
            raise SpaceError("compiling is torch's: it does not go with the backend 'openvino'.")


def device(compute: Compute) -> Any:
    """The `torch.device` that networks run on. Raises SpaceError for one that is not here."""
    import torch

    if compute.device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(compute.device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SpaceError(f"The device {compute.device!r} cannot be used: {reason}") from error
    return found


@lru_cache
def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 itself (AVX512-BF16, AMX, Arm's BF16): elsewhere it is slower."""
    flags = _cpu_flags()
    if flags & {"avx512_bf16", "amx_bf16", "bf16"}:
        return True
    if platform.machine().lower() in ("arm64", "aarch64") or flags:
        return False
    import torch

    says = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # where there is no /proc/cpuinfo
    return bool(says and says())


def cpu_name() -> str:
    """What the processor calls itself, where the system tells."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    return set(_cpuinfo("flags", "Features").split())


def _cpuinfo(*names: str) -> str:
    """The first core's value of one of these names; empty where there is no /proc/cpuinfo."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(names)), "")


def candidates(compute: Compute, kind: str, half: Precision | None = None) -> list[Precision]:
    """Precisions to try in this order; the first that agrees with float32 is kept.

    `kind` is torch's type of device; `half` is what a GPU prefers ("bf16" from Ampere on, "fp16" before).
    """
    if compute.precision != "auto":
        return [compute.precision]
    if kind == "cuda":
        return [half or "fp16", "fp32"]
    return ["bf16", "fp32"] if kind == "cpu" and cpu_has_bf16() else ["fp32"]


def agreement(rows: Floats, reference: Floats) -> float:
    """The least cosine of a row of features (n, dim) with that of the reference; nan counts as -1."""
    a, b = rows.astype(np.float64), reference.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.maximum(lengths, 1e-30)
    return float(np.nan_to_num(cosines, nan=-1.0).min())


@dataclass(frozen=True)
class Chosen:
    """A forward pass with the precision that it has and its least cosine with float32 (1.0 for float32)."""

    run: Run
    precision: Precision
    cosine: float


def choose(
    tries: Sequence[Precision], forced: bool, build: Callable[[Precision], Run], probe: NDArray[Any]
) -> Chosen:
    """The first of `tries` whose rows of `probe` agree with float32 to TOLERANCE.

    `build` makes the forward pass of a precision. A forced one is kept whatever its cosine.
    """
    if tries[0] == "fp32":
        return Chosen(build("fp32"), "fp32", 1.0)
    exact = build("fp32")
    reference = exact(probe)
    for precision in tries:
        if precision == "fp32":
            break
        try:
            run = build(precision)
            cosine = agreement(run(probe), reference)
        except RuntimeError:  # an operation that torch has not in this precision
            if forced:
                raise
            continue
        if forced or cosine >= TOLERANCE:
            return Chosen(run, precision, cosine)
    return Chosen(exact, "fp32", 1.0)


def probe_pictures(size: tuple[int, int], count: int = 4) -> NDArray[np.uint8]:
    """Pictures (count, h, w, 3) that are the same everywhere: smooth fields with edges and a little noise."""
    height, width = size
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    pictures = []
    for _ in range(count):
        waves = rng.uniform(1, 9, (3, 2))[:, :, None, None]
        phases = rng.uniform(0, 6.3, (3, 1, 1))
        field = np.sin(waves[:, 0] * x * 6.3 + waves[:, 1] * y * 6.3 + phases)
        left, top, right, bottom = np.sort(rng.uniform(0, 1, (2, 2)), axis=0).reshape(4)
        inside = (x > left) & (x < right) & (y > top) & (y < bottom)
        field = np.where(inside, rng.uniform(-1, 1, (3, 1, 1)), field) + rng.normal(0, 0.05, field.shape)
        pictures.append(np.clip(field * 110 + 128, 0, 255).astype(np.uint8).transpose(1, 2, 0))
    return np.stack(pictures)


PROBE_TEXTS = (
    "a photo of a dog",
    "two people walk along a beach at sunset",
    "an old map of the city with a river through it, folded twice",
    "thunder",
)
