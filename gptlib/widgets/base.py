"""What every explorer shares: controls above a picture, live in Jupyter, still and in words elsewhere."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from gptlib.generation import check_tokenizer
from gptlib.model.config import GPTConfig
from gptlib.tokenizers import Tokenizer
from gptlib.widgets.drawing import Picture, element, sentence

# In a narrow window the picture shrinks a little; where its text would become too small to read, one scrolls.
SCREEN = """<style>
.gptlib-screen {overflow-x: auto}
.gptlib-screen svg {max-width: 100%; min-width: 620px; height: auto}
</style>"""


def ipywidgets() -> ModuleType:
    """The package ipywidgets, imported when the first explorer is made. Raises: ImportError with what to do."""
    try:
        import ipywidgets
    except ImportError:
        raise ImportError(
            "The explorers need the package ipywidgets, which is not installed; run `pip install ipywidgets` and "
            "restart the kernel."
        ) from None
    return ipywidgets


class Explorer:
    """Controls above a picture. A subclass makes its controls, passes them here in rows, and gives `draw`.

    In Jupyter it displays as a live widget; where there is none (the page of a code host, a notebook not yet run)
    as the picture; in a terminal in words.
    """

    _held = True  # until the controls are there

    def __init__(self, *rows: Any) -> None:
        widgets = ipywidgets()
        self.screen = widgets.HTML()
        self.box = widgets.VBox([*rows, self.screen])
        self._held = False
        self.redraw()

    def draw(self) -> Picture:
        """The picture of what the controls say; a ValueError is shown as a sentence in its place."""
        raise NotImplementedError

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Change several controls, and redraw once, at the end."""
        self._held, before = True, self._held
        try:
            yield
        finally:
            self._held = before
        self.redraw()

    def redraw(self, _change: Any = None) -> None:
        """Show what the controls say now; observers call this."""
        if self._held:
            return
        try:
            self.picture = self.draw()
        except ValueError as error:
            self.picture = sentence(str(error))
        self.screen.value = f'<div class="gptlib-screen">{SCREEN}{self.picture.svg}</div>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        svg, words = self.picture
        # JupyterLab shows no SVG of a notebook that it doesn't trust, as a fresh clone's are; an image in HTML it does.
        source = "data:image/svg+xml;base64," + b64encode(svg.encode()).decode()
        still = {"image/svg+xml": svg, "text/html": element("img", src=source, alt=words), "text/plain": words}
        return {**self.box._repr_mimebundle_(), **still}

    def __repr__(self) -> str:
        return self.picture.words


def check_text(name: str, text: object) -> None:
    """Raise ValueError where `text` is no str."""
    if not isinstance(text, str):
        raise ValueError(f"{name}={text!r} is a {type(text).__name__}; give a str.")


def check_model(model: object, tokenizer: object) -> None:
    """Raise ValueError where `model` is no GPT, or `tokenizer` is none that it can have been trained with."""
    if not isinstance(getattr(model, "config", None), GPTConfig):
        raise ValueError(f"model={model!r} is no GPTModel; pass one, such as load_checkpoint(...).model.")
    if not isinstance(tokenizer, Tokenizer):
        raise ValueError(f"tokenizer={tokenizer!r} is no tokenizer; pass the model's, load_checkpoint(...).tokenizer.")
    check_tokenizer(model, tokenizer)


def control(kind: str, description: str, value: Any = None, width: str = "360px", **options: Any) -> Any:
    """A standard ipywidgets control, wide enough for its description. Example: control("IntSlider", "Layer", 0)"""
    widgets = ipywidgets()
    if value is not None:
        options["value"] = value
    style = {} if kind == "Button" else {"style": {"description_width": "initial"}}
    return getattr(widgets, kind)(description=description, layout={"width": width}, **style, **options)


def row(*controls: Any) -> Any:
    """Controls side by side, in a new line where there is no room."""
    return ipywidgets().HBox(list(controls), layout={"flex_flow": "row wrap"})
