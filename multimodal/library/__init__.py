"""The library: files of a folder as searchable rows on disk.

scan      what lies in a folder              store    rows in SQLite (the truth), behind a protocol
indexing  one run over what has changed      vectors  memory-mapped copies of the vectors, and the kernel
library   add, remove, search, stats         search   from a query to ranked rows
"""

from __future__ import annotations

from multimodal.library.filters import COLUMNS, Filter
from multimodal.library.indexing import Progress
from multimodal.library.library import Library

__all__ = ["COLUMNS", "Filter", "Library", "Progress"]
