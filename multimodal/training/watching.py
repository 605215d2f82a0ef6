"""Who is told how a training goes: a caller, a file of lines, TensorBoard where it is installed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

Listener = Callable[[dict[str, float]], object]

SHOWN = ("loss", "moved", "rate", "scale", "recall@10", "mrr")


@contextmanager
def listeners(run: Path | None, name: str, listener: Listener | None) -> Iterator[Listener]:
    """One that tells `listener`, appends to NAME.jsonl and, where there is tensorboard, to its logs; both in
    `run`, where that is given."""
    writer = None
    if run is not None and find_spec("tensorboard") is not None:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(run / "tensorboard" / name)

    def tell(line: dict[str, float]) -> None:
        if run is not None:
            run.mkdir(parents=True, exist_ok=True)
            with (run / f"{name}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        if writer is not None:
            for key in SHOWN:
                writer.add_scalar(key, line[key], int(line["epoch"]))
        if listener is not None:
            listener(line)

    try:
        yield tell
    finally:
        if writer is not None:
            writer.close()
