"""Many files to vectors: decoded by worker processes, embedded here in full batches.

    >>> for file in encode_files(folder.rglob("*.jpg"), load_space()):
    ...     print(file.path, file.status, len(file.rows), file.reason)

A file that crashes, hangs or starves its decoder ends as one failed file; the run goes on.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multimodal.pipeline.encode import encode_files
    from multimodal.pipeline.rows import EncodedFile, Progress, Row
    from multimodal.pipeline.wire import Limits, Task

_HOMES = {"encode_files": "encode", "Limits": "wire", "Task": "wire"}
__all__ = ["EncodedFile", "Limits", "Progress", "Row", "Task", "encode_files"]


def __getattr__(name: str) -> Any:
    # Looked up late: workers import this package too, and need nothing of the parent's side.
    if name in __all__:
        return getattr(import_module(f"multimodal.pipeline.{_HOMES.get(name, 'rows')}"), name)
    raise AttributeError(f"module 'multimodal.pipeline' has no attribute {name!r}")
