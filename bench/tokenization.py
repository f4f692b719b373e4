"""Our BPE beside Hugging Face's `tokenizers` and tiktoken, both in Rust: training and encoding, in one run.

    python bench/tokenization.py [TEXT]        default: data/input.txt, repeated to at least 1 MB

The file is not called tokenizers.py, because a script's folder is searched first by `import tokenizers`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers as hf
from _tables import save, table

from gptlib import plots
from gptlib.ops.benchmark import alternate, describe, machine
from gptlib.tokenizers import BPETokenizer, GPT2Tokenizer
from gptlib.utils.folders import project_root

VOCAB_SIZES = (512, 8192)


def train_hf(text: str, vocab_size: int) -> hf.Tokenizer:
    """Hugging Face's byte-level BPE with GPT-2's split, trained on the lines of `text`."""
    tokenizer = hf.Tokenizer(hf.models.BPE())
    tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = hf.trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    return tokenizer


def forgetful(tokenizer: BPETokenizer) -> Callable[[str], list[int]]:
    """`tokenizer.encode` with the cache of chunks emptied before each call, as on a text never seen."""

    def encode(text: str) -> list[int]:
        tokenizer._cache.clear()
        return tokenizer.encode(text)

    return encode


def compare(text: str, rounds: int) -> list[dict[str, Any]]:
    """A row for each job: our MB a second, theirs, and how many times theirs ours is."""
    ours, theirs = BPETokenizer.train(text, 512), train_hf(text, 512)
    gpt2, tiktoken = BPETokenizer.from_gpt2(), GPT2Tokenizer()
    ids = tiktoken.encode(text)
    jobs = {
        f"train to {n:,} tokens": ("tokenizers", lambda n=n: BPETokenizer.train(text, n), lambda n=n: train_hf(text, n))
        for n in VOCAB_SIZES
    } | {
        "encode, 512 tokens, new text": ("tokenizers", lambda: forgetful(ours)(text), lambda: theirs.encode(text)),
        "encode as GPT-2, new text": ("tiktoken", lambda: forgetful(gpt2)(text), lambda: tiktoken.encode(text)),
        "encode as GPT-2, again": ("tiktoken", lambda: gpt2.encode(text), lambda: tiktoken.encode(text)),
        "decode as GPT-2": ("tiktoken", lambda: gpt2.decode(ids), lambda: tiktoken.decode(ids)),
    }
    rows, size = [], len(text.encode()) / 1e6
    for what, (peer, mine, other) in jobs.items():
        seconds = alternate({"gptlib": mine, peer: other}, rounds)
        speed = {name: size / s for name, s in seconds.items()}
        row = {"job": what, "gptlib MB/s": speed["gptlib"], "peer": peer, "peer MB/s": speed[peer]}
        rows.append(row | {"gptlib / peer": speed["gptlib"] / speed[peer]})
        print(table(rows[-1:]).splitlines()[1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="?", type=Path, default=project_root() / "data" / "input.txt")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, of which the median counts")
    options = parser.parse_args()
    once = options.text.read_text(encoding="utf-8-sig")
    text = once * -(-1_000_000 // max(len(once), 1))
    found = machine()
    print(f"{describe(found)}\n{options.text.name}, {len(text.encode()) / 1e6:.2f} MB\n")
    rows = compare(text, options.rounds)
    print(f"\n{table(rows)}")
    bars = {"gptlib": [row["gptlib MB/s"] for row in rows], "peer": [row["peer MB/s"] for row in rows]}
    labels = [row["job"].replace(", ", ",\n").replace(" to ", "\nto ").replace(" as ", "\nas ") for row in rows]
    ax = plots.plot_bar_groups(bars, labels, ylabel="MB a second", title="BPE beside tokenizers and tiktoken")
    save("tokenization", found, {"jobs": rows}, ax.figure)


if __name__ == "__main__":
    main()
