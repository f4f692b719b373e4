"""The diagrams: well-formed, described, of one palette, legible, on their own, right, and all in use."""

import re
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
import torch

from gptlib.datasets import SlidingWindowDataset
from gptlib.plots import base
from gptlib.tokenizers import load_tokenizer

ROOT = Path(__file__).resolve().parents[1]
DIAGRAMS = sorted((ROOT / "assets").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"

TINTS = ("#D8EAF7", "#FBE3D3", "#D5EFE6", "#F6E3ED", "#ECEAE4", "#FFFFFF")  # of blue, orange, green, purple, grey
DARKER = ("#00664B", "#B8578F", "#555555")  # green, purple and grey as text or line
OF_THE_PLOTS = (base.BLUE, base.ORANGE, base.GREEN, base.PURPLE, base.GREY, base.DARK_ORANGE, *base.STYLE.values())
PALETTE = {*TINTS, *DARKER, *(c.upper() for c in OF_THE_PLOTS if isinstance(c, str) and c.startswith("#"))}


@pytest.fixture(params=DIAGRAMS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def source(path):
    return path.read_text(encoding="utf-8")


@pytest.fixture
def svg(source):
    return ElementTree.fromstring(source)


def texts(name: str) -> list[str]:
    root = ElementTree.parse(ROOT / "assets" / f"{name}.svg").getroot()
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def test_there_are_the_eight_of_the_chapters():
    chapters = {"book_map", "bpe", "sliding_window", "attention", "transformer_block", "training_loop", "kv_cache"}
    assert {path.stem for path in DIAGRAMS} >= {"model_architecture", *chapters}


def test_it_says_what_it_shows(svg):
    title, description = svg.find(f"{SVG}title"), svg.find(f"{SVG}desc")
    assert title.text.strip()
    assert len(description.text.split()) >= 20
    assert svg.get("role") == "img"
    assert svg.get("aria-labelledby").split() == [title.get("id"), description.get("id")]


def test_it_scales(svg):
    assert svg.get("viewBox") == f"0 0 {svg.get('width')} {svg.get('height')}"
    assert 760 <= int(svg.get("width")) <= 960


def test_it_is_small(path):
    assert path.stat().st_size < 30_000


def test_it_stands_alone(svg, source):
    tags = {element.tag.removeprefix(SVG) for element in svg.iter()}
    assert not tags & {"script", "foreignObject", "image", "use", "a", "animate", "set"}
    assert "<!ENTITY" not in source
    assert "@import" not in source
    assert "@font-face" not in source
    assert re.findall(r"https?://[^\"' )]+", source) == ["http://www.w3.org/2000/svg"]
    attributes = [name for element in svg.iter() for name in element.attrib]
    assert [name for name in attributes if name.startswith("on") or name.endswith("href")] == []


def test_what_it_refers_to_is_in_it(svg, source):
    ids = [element.get("id") for element in svg.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    references = re.findall(r"url\((.*?)\)", source)
    assert {reference for reference in references if reference.strip("#") not in ids} == set()


def test_its_classes_are_its_styles(svg):
    styled = set(re.findall(r"\.([a-z][\w-]*)", re.sub(r"\{.*?\}", "", svg.find(f"{SVG}style").text)))
    used = {name for element in svg.iter() for name in element.get("class", "").split()}
    assert styled == used


def test_its_colours_are_of_the_palette(source):
    paints = re.findall(r"(?:fill|stroke|color)\s*[:=]\s*\"?\s*([^;\"}]+)", source)
    colours = {paint.strip() for paint in paints if not re.match(r"none|url\(", paint)}
    assert colours - PALETTE == set()
    assert set(re.findall(r"#[0-9A-Fa-f]{6}\b", source)) - PALETTE == set()


def test_it_has_a_background_of_its_own(svg):
    """So that it is legible on a dark page: nothing in it follows the page's colours."""
    panel = svg.find(f"{SVG}rect")
    assert panel.get("class") == "panel"
    assert float(panel.get("width")) >= float(svg.get("width")) - 1
    assert float(panel.get("height")) >= float(svg.get("height")) - 1
    style = svg.find(f"{SVG}style").text
    assert ".panel { fill: #FBFAF6;" in style
    assert "prefers-color-scheme" not in style


def test_its_text_can_be_read(source):
    sizes = [float(size) for size in re.findall(r"font-size\s*[:=]\s*\"?([\d.]+)", source)]
    assert min(sizes) >= 11
    assert len(re.findall(r"font-size\s*[:=]", source)) == len(sizes)  # each in pixels, none in em or %


def test_its_text_is_inside(svg):
    """By an estimate of its width; most sans-serif fonts take about 6 px for a letter of these sizes."""
    style = svg.find(f"{SVG}style").text
    anchors = dict(re.findall(r"\.([\w-]+) \{[^}]*text-anchor: (\w+)", style))
    for element in svg.iter(f"{SVG}text"):
        if element.get("transform"):
            continue
        width = 6 * len("".join(element.itertext()))
        anchor = next((anchors[name] for name in element.get("class", "").split() if name in anchors), "start")
        anchor = element.get("style", f"text-anchor: {anchor}").removeprefix("text-anchor: ")
        left = float(element.get("x")) - width * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        assert left >= 0, element.text
        assert left + width <= int(svg.get("width")), element.text
        assert 10 < float(element.get("y")) < int(svg.get("height"))


def test_each_is_used():
    """By the README or in the prose of a notebook."""
    pages = [(ROOT / "README.md").read_text(encoding="utf-8")]
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(notebook, as_version=4).cells
        pages += [cell.source for cell in cells if cell.cell_type == "markdown"]
    used = {name for page in pages for name in re.findall(r"!\[[^\]]+\]\((?:\.\./)?assets/([^)]+)\)", page)}
    assert {file.name for file in (ROOT / "assets").iterdir()} - used == set()


def test_the_merges_drawn_are_gpt2s():
    shown, tokenizer = texts("bpe"), load_tokenizer("gpt2")
    assert [int(text) for text in shown[-6:] if text.isdigit()] == tokenizer.encode("lowest")
    assert [tokenizer.decode([i]) for i in tokenizer.encode("lowest")] == ["low", "est"]
    # Merge number `rank` makes the token with the id 256 + rank.
    merged = [tokenizer.decode([256 + rank]) for rank in (18, 66, 139, 9063)]
    assert merged == ["es", "ow", "est", "low"]
    for rank in (18, 66, 139, 9063):
        assert f"has the lowest rank, {rank}" in shown


@pytest.mark.parametrize("stride", [4, 2])
def test_the_windows_drawn_are_those_of_the_dataset(stride):
    shown = texts("sliding_window")
    first = next(i for i, text in enumerate(shown) if text.startswith(f"stride = {stride}"))
    numbers = [int(text) for text in shown[first:] if text.isdigit()]
    dataset = SlidingWindowDataset(torch.arange(11), context_length=4, stride=stride)
    windows = [torch.stack(dataset[i]) for i in range(len(dataset))]
    assert numbers[: 8 * len(dataset)] == torch.cat(windows).flatten().tolist()


def test_the_weights_drawn_are_the_softmax_of_the_scores_drawn():
    numbers = [float(text) for text in texts("attention") if re.fullmatch(r"\d\.\d+|0", text)]
    scores = torch.tensor(numbers[:16]).view(4, 4)
    weights = torch.tensor(numbers[26:42]).view(4, 4)
    causal = torch.ones(4, 4).tril().bool()
    assert torch.allclose(scores.masked_fill(~causal, -torch.inf).softmax(dim=1), weights, atol=0.005)
