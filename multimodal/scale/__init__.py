"""Libraries beyond one machine: sources in object stores, and the work shared by the nodes of a Ray cluster.

    >>> from multimodal.scale import index
    >>> index(Library("photos.library"), "s3://bucket/photos", engine="ray")

The readers, the encoders, the report and the library itself are those of one machine.
"""

from __future__ import annotations

from multimodal.scale.indexing import ENGINES, Engine, index
from multimodal.scale.sources import Listing, listed

__all__ = ["ENGINES", "Engine", "Listing", "index", "listed"]
