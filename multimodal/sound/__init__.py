"""Sound in any space: audio towers that fit a CLIP space, or are brought into one through text.

`with_audio` adds a published audio encoder to the space it was trained for, `bridge_audio` brings one with a
text tower of its own into any space. `registry` says which checkpoint fits which space.
"""

from __future__ import annotations

from multimodal.sound.bridge import Bridge, bridge_audio
from multimodal.sound.registry import fitting
from multimodal.sound.source import AudioPart, WithAudio, with_audio

__all__ = ["AudioPart", "Bridge", "WithAudio", "bridge_audio", "fitting", "with_audio"]
