"""A space in the real mteb: tiny local tasks, scored by mteb itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from PIL import Image

from multimodal import QueryError
from tests.fakes import fake_space

# Importing mteb takes 3 to 5 s, which a process that only collects this module need not spend.
pytestmark = pytest.mark.skipif(find_spec("mteb") is None, reason="mteb is not installed")


@pytest.fixture(autouse=True)
def _warnings_of_others() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of datasets and of mteb itself
        yield


def model_of(space: Any) -> Any:
    from multimodal.integrations.mteb import MtebModel

    return MtebModel(space)


def sts_task() -> Any:
    """Pairs of sentences with how alike they are: the more words they share the better."""
    import datasets
    from mteb.abstasks.sts import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    words = ["red", "green", "blue", "fox", "sky", "sea", "tree", "stone"]
    rng = np.random.default_rng(0)
    pairs = []
    for shared in range(7):
        for _ in range(4):
            order = list(rng.permutation(words))
            left = order[:6]
            pairs.append((" ".join(left), " ".join(left[:shared] + order[6:] + ["x"] * (4 - shared)), shared))

    class Task(AbsTaskSTS):
        metadata = TaskMetadata(
            name="LocalSTS", description="local", reference="https://example.org", type="STS",
            dataset={"path": "local", "revision": "1"}, category="t2t", eval_splits=["test"],
            eval_langs=["eng-Latn"], main_score="cosine_spearman", date=("2020-01-01", "2020-01-02"),
            domains=[], task_subtypes=[], license="cc0-1.0", annotations_creators="derived", dialect=[],
            sample_creation="created", bibtex_citation="", modalities=["text"],
        )  # fmt: skip
        min_score, max_score = 0, 6

        def load_data(self, *_: Any, **__: Any) -> None:
            first, second, score = zip(*pairs, strict=True)
            columns = {"sentence1": list(first), "sentence2": list(second), "score": list(map(float, score))}
            self.dataset = {"test": datasets.Dataset.from_dict(columns)}
            self.data_loaded = True

    return Task()


def test_mteb_scores_a_space(tmp_path) -> None:
    import mteb

    model = model_of(fake_space())
    assert isinstance(model, mteb.EncoderProtocol)
    found = mteb.evaluate(model, sts_task(), cache=None, show_progress_bar=False, co2_tracker=False)
    score = found.task_results[0].scores["test"][0]["main_score"]
    assert 0.5 < score <= 1


def test_meta_tells_what_a_space_is() -> None:
    meta = model_of(fake_space()).mteb_model_meta
    assert meta.name == "multimodal/fake" and meta.embed_dim == fake_space().dim
    assert meta.modalities == ["text", "image", "audio"]
    assert meta.revision == fake_space().space_id


def test_batches_of_every_kind_are_embedded() -> None:
    space = fake_space()
    model = model_of(space)
    red = Image.new("RGBA", (40, 40), "red")
    hum = np.sin(np.arange(8_000) / 10).astype(np.float32)
    sound = {"array": hum, "sampling_rate": 8_000}
    texts = model.encode([{"text": ["red fox", " "]}, {"text": ["blue"]}])
    assert texts.shape == (3, space.dim)
    both = model.encode([{"image": [red], "text": ["red"]}])
    alone = model.encode([{"image": [red]}])
    assert float((both @ alone.T)[0, 0]) < 1 and np.allclose(np.linalg.norm(both, axis=1), 1, atol=1e-5)
    assert model.encode([{"audio": [sound]}]).shape == (1, space.dim)
    assert model.encode([]).shape == (0, space.dim)
    assert model.similarity(texts, alone).shape == (3, 1)
    np.testing.assert_allclose(model.similarity_pairwise(texts, texts), 1, atol=1e-5)
    with pytest.raises(QueryError, match="embeds none of video"):
        model.encode([{"video": [None]}])


@pytest.mark.slow
def test_every_mock_task_of_text_and_pictures_runs() -> None:
    """mteb's own check of a model: all of its kinds of task, on made-up data."""
    import mteb

    found = mteb.mock_run(model_of("starter"))
    failed = {
        name: result
        for name, result in found.task_results.items()
        if type(result).__name__ == "TaskError" and "torchcodec" not in str(result).lower()
    }
    ran = [name for name, result in found.task_results.items() if type(result).__name__ == "TaskResult"]
    assert not failed and len(ran) > 10
