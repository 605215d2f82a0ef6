"""A folder of photos to a searchable index, and one search from cold: this package beside the usual ways.

    python -m benchmarks.peers [--files 120] [--runs 3]

All run the same ViT-B/32 with the same random weights from one checkpoint, each in a process of its own that
loads the model, reads the photos (2 to 12 megapixels) and leaves vectors on disk. The others are what their
READMEs show: open_clip in a plain loop over batches; open_clip behind torch's DataLoader with a process for
each core, as clip-retrieval feeds it; sentence-transformers' `encode` (transformers' CLIP of the same size,
its own random weights), where it is installed. rclip and clip-retrieval themselves ask a hub for weights and
do not start without one. Search from cold is a process that is asked for one sentence; the others load the
model, embed it and multiply. Memory is the most that the process and those it started held together (RSS).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.machine import machine
from benchmarks.photos import write_photos

PLAIN = """
import sys, numpy, torch, open_clip
from pathlib import Path
from PIL import Image
weights, photos, out, way = sys.argv[1:]
model, _, prepare = open_clip.create_model_and_transforms("ViT-B-32", pretrained=weights, weights_only=True)
model.eval()
paths = sorted(Path(photos).glob("*.jpg"))
class Photos(torch.utils.data.Dataset):
    def __len__(self): return len(paths)
    def __getitem__(self, number): return prepare(Image.open(paths[number]))
workers = 0 if way == "loop" else torch.multiprocessing.cpu_count()
rows = []
with torch.no_grad():
    for batch in torch.utils.data.DataLoader(Photos(), batch_size=32, num_workers=workers):
        rows.append(torch.nn.functional.normalize(model.encode_image(batch), dim=-1).numpy())
numpy.save(out, numpy.concatenate(rows))
"""
PLAIN_SEARCH = """
import sys, numpy, torch, open_clip
weights, rows = sys.argv[1:]
model = open_clip.create_model("ViT-B-32", pretrained=weights, weights_only=True).eval()
with torch.no_grad():
    asked = model.encode_text(open_clip.get_tokenizer("ViT-B-32")(["a dog on the beach"])).numpy()[0]
print(numpy.argsort(-(numpy.load(rows) @ asked))[:10])
"""
SENTENCES = """
import sys, numpy, torch
from pathlib import Path
from PIL import Image
from sentence_transformers import SentenceTransformer
folder, photos, out = sys.argv[1:]
model = SentenceTransformer(folder, device="cpu")
paths = sorted(Path(photos).glob("*.jpg"))
numpy.save(out, model.encode([Image.open(path) for path in paths], batch_size=32, show_progress_bar=False))
"""


class Cost(NamedTuple):
    wall: float
    memory: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=120)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        photos = folder / "photos"
        photos.mkdir()
        write_photos(photos, args.files)
        weights = checkpoint(folder / "random.pt")
        indexed, searched = commands(folder, photos, weights)
        index = in_turn(indexed, args.runs)
        search = in_turn(searched, args.runs)
    print(
        f"{machine()}; {args.files} photos, ViT-B/32 with random weights, {args.runs} runs in turn, medians\n"
    )
    table("index", "files/s", index, args.files)
    table("search from cold", "s", search)


def checkpoint(path: Path) -> Path:
    import open_clip
    import torch

    torch.manual_seed(0)
    torch.save(open_clip.create_model("ViT-B-32", pretrained=None).state_dict(), path)
    return path


def commands(folder: Path, photos: Path, weights: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What is run to index, and to search what was indexed."""
    python, cli = [sys.executable, "-c"], [sys.executable, "-m", "multimodal.cli"]
    home, rows = folder / "library", folder / "rows.npy"
    space = f"ViT-B-32@{weights}"
    fresh = "import shutil, sys; shutil.rmtree(sys.argv[1], ignore_errors=True)\n"
    ours = "from multimodal.cli import main; sys.argv[:2] = ['multimodal']; main()"
    index = {
        "multimodal": [*python, fresh + ours, str(home), "index", str(photos), "--library", str(home),
                       "--quiet", "--space", space],
        "open_clip, plain loop": [*python, PLAIN, str(weights), str(photos), str(rows), "loop"],
        "open_clip, DataLoader": [*python, PLAIN, str(weights), str(photos), str(rows), "loader"],
    }  # fmt: skip
    if find_spec("sentence_transformers") is not None:
        clip = sentence_clip(folder / "clip")
        index["sentence-transformers"] = [*python, SENTENCES, str(clip), str(photos), str(folder / "st.npy")]
    search = {
        "multimodal": [*cli, "search", "a dog on the beach", "--library", str(home), "--min-confidence", "0"],
        "open_clip, plain": [*python, PLAIN_SEARCH, str(weights), str(rows)],
    }
    return index, search


def sentence_clip(folder: Path) -> Path:
    """A CLIP of transformers with random weights of ViT-B/32's size, as sentence-transformers loads one."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizerFast

    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a": 2, "a</w>": 3}
    folder.mkdir()
    CLIPModel(CLIPConfig()).save_pretrained(folder)
    tokenizer = CLIPTokenizerFast(vocab=vocabulary, merges=[])
    CLIPProcessor(CLIPImageProcessor(), tokenizer).save_pretrained(folder)
    (folder / "modules.json").write_text(
        '[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.CLIPModel"}]'
    )
    return folder


def in_turn(ways: dict[str, list[str]], runs: int) -> dict[str, Cost]:
    """Median cost of each command, after one run that is not counted."""
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for turn in range(runs + 1):
        for name, command in ways.items():
            cost = watched(name, command)
            if turn:
                costs[name].append(cost)
    return {name: Cost(*map(statistics.median, zip(*some, strict=True))) for name, some in costs.items()}


def watched(name: str, command: list[str]) -> Cost:
    """Seconds of a command, and the most MB that its processes held together. Raises SystemExit."""
    began, most, over = time.perf_counter(), 0.0, threading.Event()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def look() -> None:
        nonlocal most
        while not over.wait(0.1):
            try:
                top = psutil.Process(process.pid)
                held = sum(one.memory_info().rss for one in [top, *top.children(recursive=True)])
                most = max(most, held / 1e6)
            except psutil.Error:
                continue

    watcher = threading.Thread(target=look)
    watcher.start()
    _, said = process.communicate()
    wall = time.perf_counter() - began
    over.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{name} failed: {said[-600:]}")
    return Cost(wall, most)


def table(title: str, unit: str, costs: dict[str, Cost], files: int | None = None) -> None:
    ours = costs["multimodal"]
    print(f"| {title} | {unit} | this package is faster by | memory, MB |\n|---|---|---|---|")
    for name, cost in costs.items():
        shown = f"{files / cost.wall:.1f}" if files else f"{cost.wall:.2f}"
        ratio = "" if cost is ours else f"{cost.wall / ours.wall:.2f}"
        print(f"| {name} | {shown} | {ratio} | {cost.memory:.0f} |")
    print()


if __name__ == "__main__":
    main()
