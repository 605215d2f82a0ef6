"""Pictures to pixels: resize and crop exactly as open_clip's evaluation transform does, without torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multimodal.types import Content

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class ResizeCrop:
    """A picture to (height, width, 3) uint8; the tower divides by 255 and applies `mean` and `std`.

    `resize_mode` as in open_clip's `PreprocessCfg`: "shortest" scales the shorter side to size and
    crops the centre, "longest" scales the longer side and pads with `fill_color`, "squash" ignores the
    aspect ratio. Interpolation runs on PIL pictures, antialiased.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ResizeCrop:
        """From the fields of open_clip's `PreprocessCfg` (extra ones are ignored); size is int or (h, w)."""
        size = config["size"]
        height, width = (size, size) if isinstance(size, int) else size
        return cls(
            size=(int(height), int(width)),
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            interpolation=config.get("interpolation", "bicubic"),
            resize_mode=config.get("resize_mode", "shortest"),
            fill_color=int(config.get("fill_color", 0)),
        )

    def config(self) -> dict[str, Any]:
        return asdict(self)

    def __call__(self, content: Content) -> NDArray[np.uint8]:
        from PIL import Image

        if not isinstance(content, Image.Image):
            raise TypeError(f"expected a picture, got {type(content).__name__}")
        picture = content if content.mode == "RGB" else content.convert("RGB")
        return np.asarray(self._fit(picture), dtype=np.uint8)

    def _fit(self, picture: Image) -> Image:
        from PIL import Image as pil

        height, width = self.size
        resample = pil.Resampling.BILINEAR if self.interpolation == "bilinear" else pil.Resampling.BICUBIC
        if self.resize_mode == "squash":
            return picture.resize((width, height), resample)
        scaled = self._scaled_size(picture.width, picture.height)
        resized = picture if picture.size == scaled else picture.resize(scaled, resample)
        return _centre(resized, width, height, self.fill_color)

    def _scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after scaling, rounded the way torchvision and open_clip round."""
        target_height, target_width = self.size
        if self.resize_mode == "shortest" and target_height == target_width:
            short, long = min(width, height), max(width, height)
            scaled_long = int(target_height * long / short)
            return (target_width, scaled_long) if width <= height else (scaled_long, target_height)
        pick = max if self.resize_mode == "longest" else min
        ratio = pick(height / target_height, width / target_width)
        return max(1, round(width / ratio)), max(1, round(height / ratio))


def _centre(picture: Image, width: int, height: int, fill: int) -> Image:
    """The centre crop of size (width, height); where the picture is smaller it is padded with `fill`."""
    from PIL import Image as pil

    if picture.width < width or picture.height < height:
        canvas = pil.new("RGB", (max(width, picture.width), max(height, picture.height)), (fill,) * 3)
        canvas.paste(picture, ((canvas.width - picture.width) // 2, (canvas.height - picture.height) // 2))
        picture = canvas
    left = round((picture.width - width) / 2.0)
    top = round((picture.height - height) / 2.0)
    return picture.crop((left, top, left + width, top + height))
