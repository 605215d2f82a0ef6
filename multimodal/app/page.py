"""The page itself, in Gradio: a search box, a grid of results, why, the map, indexing."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from multimodal.app import cards
from multimodal.app.service import Service, picture
from multimodal.errors import MultimodalError
from multimodal.query import Query
from multimodal.types import MODALITIES, Hits

Found = tuple[str, Hits, Query]


def build_page(service: Service) -> Any:
    """The `gradio.Blocks` of a library. Events of the page are no tools; `search` and `similar` are."""
    with gr.Blocks(title="multimodal", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        hits, asked = gr.State(Hits()), gr.State(Query(()))
        with gr.Tab("Search"):
            with gr.Row():
                words = gr.Textbox(label="Words", placeholder="a cup of coffee", scale=3, elem_id="mm-words")
                go = gr.Button("Search", variant="primary", scale=0, elem_id="mm-go")
            with gr.Row():
                upload = gr.File(label="or a picture, sound or video", height=110, elem_id="mm-upload")
                sound = gr.Audio(sources=["microphone"], type="filepath", label="or a recording")
            with gr.Row():
                kinds = gr.CheckboxGroup(list(MODALITIES), label="Only", elem_id="mm-kinds")
                path = gr.Textbox(label="Path", placeholder="2024/**, !*.gif", elem_id="mm-path")
                mode = gr.Dropdown(["hybrid", "meaning", "words"], value="hybrid", label="By")
                k = gr.Slider(1, 60, value=12, step=1, label="Results")
                anything = gr.Checkbox(label="Show the nearest even if nothing matches")
            why = gr.Image(label="Why", visible=False, interactive=False, elem_id="mm-why")
            grid = gr.HTML(js_on_load=cards.ON_LOAD, elem_id="mm-results")
        with gr.Tab("Map"):
            draw = gr.Button("Draw the map of the library")
            chart = gr.Image(label="Near is alike; each kind is taken from its own centre", interactive=False)
        with gr.Tab("Library"):
            gr.Markdown(f"`{service.folder}`")
            start = gr.Button("Index what is new or changed", elem_id="mm-index")
            told = gr.Textbox(label="Progress", interactive=False, elem_id="mm-told")

        def search(
            text: str,
            file: str | None,
            heard: str | None,
            only: list[Any],
            where: str,
            by: str,
            count: float,
            any_: bool,
        ) -> tuple[Any, ...]:
            given = file or heard
            found = _asked(
                lambda: service.search(text or "", given, only or (), where or "", by, int(count), any_)
            )
            return (*found, gr.Image(visible=False))

        def act(
            shown: Hits, last: Query, only: list[Any], where: str, count: float, event: gr.EventData
        ) -> Any:
            place = int(getattr(event, "place", -1))
            if not 0 <= place < len(shown):
                return gr.skip(), gr.skip(), gr.skip(), gr.skip()
            hit = shown[place]
            if getattr(event, "act", "") == "similar" and hit.number is not None:
                number = hit.number
                found = _asked(lambda: service.similar(number, only or (), where or "", int(count)))
                return (*found, gr.Image(visible=False))
            try:
                drawn = picture(service.why(hit, last))
            except MultimodalError as error:
                raise gr.Error(str(error), print_exception=False) from error
            seen = gr.Image(value=drawn, visible=True, label=f"Why {hit.path.name}")
            return gr.skip(), gr.skip(), gr.skip(), seen

        def chart_of() -> Any:
            try:
                return picture(service.map())
            except MultimodalError as error:
                raise gr.Error(str(error), print_exception=False) from error

        def index() -> Iterator[str]:
            yield from service.index()

        private: dict[str, Any] = {"api_visibility": "private"}
        asking = [words, upload, sound, kinds, path, mode, k, anything]
        gr.on([go.click, words.submit], search, asking, [grid, hits, asked, why], **private)
        grid.click(act, [hits, asked, kinds, path, k], [grid, hits, asked, why], **private)
        draw.click(chart_of, None, chart, **private)
        start.click(index, None, told, **private)
        _tools(service)
    return page


def _asked(call: Callable[[], tuple[Hits, Query]]) -> Found:
    """What is shown after a question; a question that cannot be answered gives its sentence."""
    try:
        found, query = call()
    except MultimodalError as error:
        return f'<p class="mm-none">{html.escape(str(error))}</p>', Hits(), Query(())
    return cards.grid(found), found, query


def _tools(service: Service) -> None:
    """What programs and agents may call, over HTTP and MCP."""

    def search(words: str, kinds: str = "", path: str = "", k: int = 10) -> dict[str, Any]:
        """Search the library of texts, pictures, videos and sounds by meaning and words.

        Args:
            words: what to look for, in English
            kinds: some of text, image, video, audio, separated by commas; empty for all
            path: patterns of paths as in .gitignore, separated by commas; empty for all
            k: how many results, 1 to 100
        """
        try:
            only: Any = [kind.strip() for kind in kinds.split(",") if kind.strip()]
            hits, _ = service.search(words, None, only, path, "hybrid", max(1, min(int(k), 100)))
        except MultimodalError as error:
            return {"hits": [], "note": str(error)}
        return {"hits": cards.listed(hits), "note": hits.note}

    def similar(number: int, k: int = 10) -> dict[str, Any]:
        """Find what is like a result of `search`.

        Args:
            number: the `number` of that result
            k: how many results, 1 to 100
        """
        try:
            hits, _ = service.similar(int(number), k=max(1, min(int(k), 100)))
        except MultimodalError as error:
            return {"hits": [], "note": str(error)}
        return {"hits": cards.listed(hits), "note": hits.note}

    gr.api(search, api_name="search")
    gr.api(similar, api_name="similar")
