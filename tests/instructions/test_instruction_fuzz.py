"""A thousand broken files: each gives one sentence that says where, or the entries that are sound, and no others."""

import json
import random
import re
import unicodedata

import pytest

from gptlib.instructions import read_instructions

N = 1000
LETTERS = "ab .,\n{}\"\\'é中🙂\u200d%"
CONTROLS = [chr(code) for code in (0, 1, 7, 8, 11, 12, 27, 31, 127, 133, 0xD800, 0xDFFF, 0xFDD0, 0xFFFD, 0xFFFF)]
WRONG = (None, True, 0, -1.5, float("nan"), float("inf"), 10**400, [], ["a"], {}, {"a": "b"})
NEEDED = ("instruction", "output")


def sound(rng):
    entry = {key: "x" + "".join(rng.choices(LETTERS, k=rng.randrange(30))) for key in NEEDED}
    return entry | rng.choice([{}, {"input": ""}, {"input": "y"}, {"input": None}, {"id": 3, "more": [{}]}])


def broken(rng):
    """An entry of which nothing may be read, in one way of many."""
    entry, key = sound(rng), rng.choice(NEEDED)
    other = rng.choice([key, "input", "task"])
    match rng.randrange(9):
        case 0:
            return rng.choice([value for value in WRONG if not isinstance(value, dict)] + ["text", "", {}])
        case 1:
            del entry[key]
        case 2:
            entry[rng.choice([key.upper(), f" {key}", f"{key}s"])] = entry.pop(key)
        case 3:
            entry[key] = rng.choice(WRONG)
        case 4:
            entry[other] = rng.choice([value for value in WRONG if value is not None])
        case 5:
            entry[key] = "".join(rng.choices(" \t\n\r\u00a0\u3000\u200b\u2028\ufeff\u2060", k=rng.randrange(5)))
        case 6:
            entry[other] = rng.choice("abc") * rng.choice([100_001, 300_000])
        case 7:
            entry[other] = "x" * rng.randrange(5) + rng.choice(CONTROLS) + "y"
        case 8:
            entry[key] = {"text": entry[key]}
    return entry


def damage(rng, data):
    """The bytes of a good file as something that is no file of entries any more."""
    match rng.randrange(9):
        case 0:
            return data[: rng.randrange(len(data) - 1)]  # at least the last bracket goes
        case 1:
            return data.decode().encode(rng.choice(["utf-16", "utf-32"]))
        case 2:
            return data[:3] + bytes([rng.choice([0, 0x80, 0xC0, 0xE9, 0xFF])]) + data[3:]
        case 3:
            return rng.choice(
                [b"", b"\xef\xbb\xbf", b"\n\n", b"[]", b"null", b"NaN", b"{}", b'"x"', b"[[]", b"0" * 5000]
            )
        case 4:
            return b'{"data": ' + data + b"}"
        case 5:
            return rng.choice([b"[", b'{"a":', b'[{"a":']) * rng.choice([2000, 200_000])
        case 6:
            return data.replace(b'"instruction"', b"instruction", 1)
        case 7:
            return data + rng.choice([b"]", b"{}", b"x", b"\n[]"])
        case 8:
            return rng.randbytes(rng.randrange(1, 300)) + b"\xff"


def one_sentence(text):
    assert text.isprintable(), f"a message with control characters: {text!r}"
    assert text.endswith(".")
    assert len(text) < 600
    assert not re.search(r"Traceback|Error\b|gptlib", text)
    return text


def no_garbage(entry):
    """Written apart from the library's check: categories of Unicode instead of code points."""
    for key in ("instruction", "input", "output", "task"):
        text = getattr(entry, key)
        assert isinstance(text, str)
        assert len(text) <= 100_000
        assert not any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in text)
        assert not set(text) & {"\ufffd", "\uffff", "\ufdd0"}
        if key in NEEDED:
            assert any(unicodedata.category(c)[0] not in "ZC" for c in text)


@pytest.mark.parametrize("part", range(4))
def test_a_thousand_broken_files(tmp_path, part):
    told = 0
    for number in range(part * N // 4, (part + 1) * N // 4):
        rng = random.Random(number)
        entries = [(sound(rng), True) for _ in range(rng.randrange(6))]
        entries += [(broken(rng), False) for _ in range(rng.randrange(1, 4))]
        rng.shuffle(entries)
        as_lines = rng.random() < 0.4
        suffix, joint, ends = (".jsonl", "\n", "") if as_lines else (".json", rng.choice([",", ",\n "]), "[]")
        text = joint.join(json.dumps(entry, ensure_ascii=rng.random() < 0.5) for entry, _ in entries)
        data = (ends[:1] + text + ends[1:]).encode("utf-8", "surrogatepass")
        file = tmp_path / f"{number}{suffix}"
        surrogate_bytes = re.search(b"\xed[\xa0-\xbf]", data)  # such a file is no UTF-8 as a whole
        whole = surrogate_bytes or (not as_lines and rng.random() < 0.4)
        if whole and not surrogate_bytes:
            data = damage(rng, json.dumps([sound(rng)] * 3, ensure_ascii=False).encode())
        file.write_bytes(data)

        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are below
            read_instructions(file)
        message = one_sentence(str(caught.value))
        assert f"'{file}'" in message
        first = next(place for place, (_, good) in enumerate(entries, start=1) if not good)
        if not whole:
            assert message.startswith(f"{'Line' if as_lines else 'Entry'} {first} of "), (message, data)

        good = [entry for entry, is_good in entries if is_good]
        if whole or not good:
            with pytest.raises(ValueError) as caught:  # noqa: PT011
                read_instructions(file, bad="skip")
            one_sentence(str(caught.value))
            told += 1
            continue
        read = read_instructions(file, bad="skip")
        assert [entry.output for entry in read.entries] == [entry["output"] for entry in good], data
        assert [entry.instruction for entry in read.entries] == [entry["instruction"] for entry in good]
        assert len(read.skipped) == len(entries) - len(good)
        for sentence in read.skipped:
            assert f"'{file}'" in one_sentence(sentence)
        for entry in read.entries:
            no_garbage(entry)
    assert 50 < told < 200, "both kinds of file are among them"


def test_a_thousand_files_with_bytes_changed_at_random(tmp_path):
    """Whatever comes of it is sound, or is told in a sentence."""
    entries = [{"instruction": "Say “é”.", "input": "中 🙂", "output": "é\n"}, {"instruction": "a", "output": "b"}] * 2
    texts = {"a.json": json.dumps(entries, ensure_ascii=False), "b.jsonl": "\n".join(map(json.dumps, entries))}
    rng, refused = random.Random(0), 0
    for _ in range(N // 2):
        for name, text in texts.items():
            data = bytearray(text.encode())
            for _ in range(rng.randrange(1, 4)):
                place = rng.randrange(len(data))
                data[place : place + rng.randrange(3)] = rng.choice([b"", b'"', b"\\", b"{", b"]", rng.randbytes(1)])
            (tmp_path / name).write_bytes(data)
            try:
                read = read_instructions(tmp_path / name, bad=rng.choice(["refuse", "skip"]))
            except ValueError as error:
                refused += 1
                said = one_sentence(str(error))
            else:
                said = name
                for entry in read.entries:
                    no_garbage(entry)
            assert name in said
    assert refused > N // 3
