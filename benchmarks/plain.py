"""The loops one would write to read media without this package, each as `once(path)` for one extension."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from multimodal.types import Modality

PLAIN: dict[Modality, tuple[str, ...]] = {
    "image": ("Pillow", "OpenCV"),
    "video": ("PyAV", "OpenCV"),
    "audio": ("librosa",),
    "text": ("read_text",),
}


def fit() -> Callable[[Any], Any]:
    """What the starter's picture tower does to a picture before its network."""
    import multimodal.starter
    from multimodal.towers.pixels import ResizeCrop

    config = json.loads((Path(multimodal.starter.__file__).parent / "config.json").read_text())
    return ResizeCrop.from_config(config["image"]["preprocess"])


def pillow(extension: str) -> Callable[[Path], object]:
    from io import BytesIO

    from PIL import Image

    if extension == ".heic":
        import pillow_heif

        pillow_heif.register_heif_opener()
    elif extension == ".jxl":
        import pillow_jxl  # noqa: F401 - registers itself
    fitted = fit()

    def opened(path: Path) -> Any:
        if extension == ".dng":
            import rawpy

            with rawpy.imread(str(path)) as raw:
                return Image.fromarray(raw.postprocess(use_camera_wb=True))
        if extension == ".svg":
            import resvg_py

            return Image.open(BytesIO(bytes(resvg_py.svg_to_bytes(svg_path=str(path), width=1024))))
        return Image.open(path)

    return lambda path: fitted(opened(path).convert("RGB"))


def opencv_picture(_: str) -> Callable[[Path], object]:
    import cv2

    def once(path: Path) -> None:
        image = cv2.imread(str(path))
        if image is None:
            raise ValueError("imread gives nothing")
        scale = 260 / min(image.shape[:2])
        cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)

    return once


def opencv_video(_: str) -> Callable[[Path], object]:
    import cv2

    def once(path: Path) -> None:
        capture, frames = cv2.VideoCapture(str(path)), 0
        while capture.read()[0]:
            frames += 1
        capture.release()
        if not frames:
            raise ValueError("no frame is read")

    return once


def pyav(_: str) -> Callable[[Path], object]:
    import av

    def once(path: Path) -> None:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                frame.to_ndarray(format="rgb24")

    return once


def librosa_load(_: str) -> Callable[[Path], object]:
    import librosa

    return partial(librosa.load, sr=16_000)


WAYS: dict[tuple[str, str], Callable[[str], Callable[[Path], object]]] = {
    ("image", "Pillow"): pillow,
    ("image", "OpenCV"): opencv_picture,
    ("video", "PyAV"): pyav,
    ("video", "OpenCV"): opencv_video,
    ("audio", "librosa"): librosa_load,
    ("text", "read_text"): lambda _: lambda path: path.read_text(encoding="utf-8"),
}
