from __future__ import annotations

from tests.library.conftest import photos, serial, space

__all__ = ["photos", "serial", "space"]
