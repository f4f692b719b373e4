"""GPT-2's first cut: a text into chunks (words, numbers, runs of marks, white space) that no token ever spans.

The pattern is from OpenAI's encoder.py (https://github.com/openai/gpt-2, src/encoder.py).
"""

import regex

# In this order: a contraction; letters, digits, other marks, each with one space before; white space up to the last
# character before a word; white space.
_PATTERN = r"'(?:s|t|re|ve|m|ll|d)| ?{letter}++| ?{number}++| ?{other}++|\s+(?!\S)|\s+"

GPT2_PATTERN = _PATTERN.format(letter=r"\p{L}", number=r"\p{N}", other=r"[^\s\p{L}\p{N}]")

# tiktoken reads \p{L} and \p{N} with the tables of Unicode 16; `regex` knows letters and digits that came later. To
# tiktoken those are "other", and so they must be here, or the ids would differ. A test compares every code point.
_AFTER_UNICODE_16 = """
    558 58B-58C 88F C5C CDC 208F 209D-209F A7CE-A7CF A7D2 A7D4 A7DD A7E2 A7F1 AB6C-AB6D 107BB-107BF 10940-10959
    10EC5-10EC7 10ED9-10EEE 11B0A 11DB0-11DDB 11DE0-11DE9 11DF1 1246F 12475-1247F 12550-12686 16EA0-16EB8 16EBB-16ED3
    16FF2-16FF6 187F8-187FF 18CD6-18CDA 18D09-18D20 18D80-18DF2 18E00-19191 191A0-191D2 1B123-1B128 1B168 1D6A6
    1DF1F-1DF24 1DF2B-1DF81 1DF90-1DF96 1DFCD-1DFFF 1E6C0-1E6DE 1E6E0-1E6E2 1E6E4-1E6E5 1E6E7-1E6ED 1E6F0-1E6F4
    1E6FE-1E6FF 2B73A-2B73F 2B81E 2CEA2-2CEAD 323B0-33479 3D000-3FC3F"""
_LATER = "[" + "".join("-".join(rf"\U{int(c, 16):08X}" for c in r.split("-")) for r in _AFTER_UNICODE_16.split()) + "]"

_ASCII = regex.compile(GPT2_PATTERN)
_UNICODE = regex.compile(  # V1 has set operations: -- is "without", || is "or"
    "(?V1)"
    + _PATTERN.format(
        letter=rf"[\p{{L}}--{_LATER}]", number=rf"[\p{{N}}--{_LATER}]", other=rf"[[^\s\p{{L}}\p{{N}}]||{_LATER}]"
    )
)


def split_chunks(text: str) -> list[str]:
    """The chunks of `text`; joined, they are the text again.

    Example: "Hello,  it's 42!" -> ["Hello", ",", " ", " it", "'s", " 42", "!"]
    """
    pattern = _ASCII if text.isascii() else _UNICODE  # same chunks, three times as fast
    return pattern.findall(text)
