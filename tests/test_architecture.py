"""The rules of the house: which part may import which, and what an import may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import multimodal

ROOT = Path(multimodal.__file__).parent
LAYERS = [
    {"types", "errors", "phrases"},
    {"precision"},
    {"hub"},
    {"readers", "towers"},
    {"catalogue", "encoder", "measures", "moments", "pairs", "query"},
    {"matching", "sharing", "small", "templates"},
    {"adapted", "explain", "labels", "ladder", "sound", "students"},
    {"sources"},
    {"space"},
    {"pipeline"},
    {"library"},
    {"console", "evaluation", "export", "formats", "gallery", "scale"},
    {"integrations", "plots", "probe", "profile", "quantise", "sidecars"},
    {"app", "climb", "display", "training"},
    {"distil"},
    {"commands"},
    {"cli"},
]


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Parts of this package that a file imports at run time, anywhere in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [node.module] if node.module != "multimodal" else [f"multimodal.{n.name}" for n in node.names]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("multimodal."))


def test_imports_point_one_way() -> None:
    level = {part: number for number, layer in enumerate(LAYERS) for part in layer}
    files = [path for path in ROOT.rglob("*.py") if part_of(path) not in ("__init__", "starter")]
    assert len(files) > 15
    wrong = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path in files
        for other in imports(path)
        if other in level and other != part_of(path) and level[other] >= level[part_of(path)]
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("multimodal", {"torch", "open_clip", "PIL", "onnxruntime", "faiss", "av", "librosa", "numba"}),
        ("multimodal.readers", {"torch", "open_clip", "onnxruntime", "PIL", "av", "librosa"}),
        ("multimodal.library", {"torch", "open_clip", "onnxruntime"}),
        ("multimodal.space", {"torch", "open_clip", "onnxruntime", "librosa", "numba"}),
        ("multimodal.cli", {"torch", "open_clip", "onnxruntime", "librosa", "numba", "pyarrow"}),
    ],
)
def test_an_import_brings_nothing_heavy(module: str, forbidden: set[str]) -> None:
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not forbidden & set(loaded.split())


def test_importing_the_package_is_quick() -> None:
    code = "import time; a = time.perf_counter(); import multimodal; print(time.perf_counter() - a)"
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(runs) < 0.3


def test_public_names_are_the_ones_announced() -> None:
    assert set(multimodal._HOME_OF) == set(multimodal.__all__)
    for name in multimodal.__all__:
        assert getattr(multimodal, name) is not None
