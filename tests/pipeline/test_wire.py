"""Frames through a pipe."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from multimodal.pipeline.process import Tail, launch, obituary
from multimodal.pipeline.wire import Ended, Piece, Ready, pack, receive, send


def sent(*messages: Piece | Ended | Ready) -> io.BufferedReader:
    stream = io.BytesIO()
    for message in messages:
        send(stream, message)
    return io.BufferedReader(io.BytesIO(stream.getvalue()))  # type: ignore[arg-type]


def test_arrays_pass_unchanged() -> None:
    frames = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    turned = np.asfortranarray(np.ones((3, 5), np.float32))[:, ::2]
    stream = sent(
        Piece("video", 0.5, 2.0, (frames, np.array([0, 1.5], np.float32))),
        Piece("audio", None, None, turned),
        Piece("text", None, None, "Grüße"),
        Ended("read", None, 1.5, "audio"),
    )
    piece, size = receive(stream)
    assert piece[:3] == ("video", 0.5, 2.0)
    np.testing.assert_array_equal(piece.prepared[0], frames)
    assert piece.prepared[0].flags.writeable
    assert size >= frames.nbytes + 8
    np.testing.assert_array_equal(receive(stream)[0].prepared, turned)
    assert receive(stream)[0].prepared == "Grüße"
    assert receive(stream)[0] == Ended("read", None, 1.5, "audio")
    with pytest.raises(EOFError):
        receive(stream)


def test_an_array_is_not_copied_into_the_pickle() -> None:
    message = Piece("image", None, None, np.zeros((512, 512, 3), np.uint8))
    assert len(pack(message)) > 512 * 512 * 3  # in one piece
    stream = io.BytesIO()
    send(stream, message)
    assert int.from_bytes(stream.getvalue()[:8], "little") < 1000  # beside it


def test_a_frame_that_breaks_off() -> None:
    whole = sent(Ready("why not")).read()
    for length in (0, 5, 11, len(whole) - 1):
        with pytest.raises(EOFError):
            receive(io.BufferedReader(io.BytesIO(whole[:length])))  # type: ignore[arg-type]
    assert receive(io.BufferedReader(io.BytesIO(whole)))[0] == Ready("why not")  # type: ignore[arg-type]


def test_what_a_process_died_of() -> None:
    assert obituary(-11, "") == "the decoder crashed (signal 11)"
    assert obituary(-6, "bad alloc") == "the decoder crashed (signal 6): bad alloc"
    assert obituary(2, "giving up") == "the decoder quit (exit code 2): giving up"
    assert obituary(0xC0000005, "") == "the decoder crashed (0xC0000005)"


def test_a_worker_whose_parent_says_nothing_ends() -> None:
    process = launch()
    tail = Tail(process.stderr)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    assert process.wait(30) == 0
    assert process.stdout.read() == b""
    process.stdout.close()
    assert tail.last() == ""


def test_workers_load_nothing_heavy() -> None:
    """Their start is what a small folder waits for."""
    import subprocess

    code = "import sys, multimodal.pipeline.worker; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "onnxruntime", "av", "librosa", "faiss", "PIL", "cv2"} & set(loaded.split())
