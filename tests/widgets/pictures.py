"""What the tests of the explorers share: reading a picture, and texts that are hard to draw."""

import re
import xml.etree.ElementTree as ET

from hypothesis import strategies as st

from gptlib.widgets.drawing import WIDTH, mono_width

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert('x')</script> & \"quotes\" ]]> <!-- -->",
    "\x00\x01\x1b\x7f\x85\t\r\n\ufffe\uffff",
    "\ud800 lone, and \udfff",
    "\u202e\u200b\ufeff\u2028\xa0 unseen",
    "e\u0301 \u0301\u0302 日本語 👨‍👩‍👧 שלום مرحبا",
    " " * 200,
    "a" * 3000,
    "x\n" * 300,
]
any_text = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(), max_size=60))  # surrogates too


def parsed(picture):
    """The picture's root element, after checking what must be true of every picture."""
    root = ET.fromstring(picture.svg)
    assert root.tag == SVG + "svg"
    assert root.get("role") == "img"
    assert root.get("aria-label") == picture.words != ""
    assert picture.words.isprintable()
    height = float(root.get("height"))
    for rectangle in root.iter(SVG + "rect"):
        x, y, width, tall = (float(rectangle.get(key)) for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert width >= 0
        assert tall >= 0
        assert x + width <= WIDTH
        assert y + tall <= height
    for text in root.iter(SVG + "text"):
        assert int(text.get("font-size")) >= 11
        assert 0 < float(text.get("y")) < height
        if "Mono" in text.get("font-family", "") and not text.get("transform"):
            width, place = mono_width("".join(text.itertext()), int(text.get("font-size"))), text.get("text-anchor")
            left = float(text.get("x")) - width * {None: 0, "middle": 0.5, "end": 1}[place]
            assert left >= 0
            assert left + width <= WIDTH
    for each in root.iter():
        assert each.tag.removeprefix(SVG) in {"svg", "style", "rect", "text", "tspan", "title"}
        assert not any(name.startswith("on") or name.endswith("href") for name in each.attrib)
    return root


def texts(picture):
    """What is written in the picture, piece by piece."""
    return ["".join(text.itertext()) for text in parsed(picture).iter(SVG + "text")]


def titles(picture):
    """What the mouse may find."""
    return [title.text for title in parsed(picture).iter(SVG + "title")]


def numbers(text):
    """Example: "0.42 of 2,048 (7 %)" -> [0.42, 2048.0, 7.0]"""
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]
