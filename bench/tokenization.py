"""Our BPE beside Hugging Face's `tokenizers` and tiktoken, both in Rust: training and encoding, in one run.

    python bench/tokenization.py [TEXT]        default: data/input.txt, repeated to at least 1 MB

The file is not called tokenizers.py, because a script's folder is searched first by `import tokenizers`.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import tokenizers as hf

from gptlib.files import project_root
from gptlib.tokenizers import BPETokenizer, GPT2Tokenizer

VOCAB_SIZES = (512, 8192)
ROUNDS = 3


def side_by_side(jobs: Sequence[Callable[[], object]]) -> list[float]:
    """The best seconds of each job, all run in turns, so that what else the machine does hits them alike."""
    best = [float("inf")] * len(jobs)
    for _ in range(ROUNDS):
        for k, job in enumerate(jobs):
            start = time.perf_counter()
            job()
            best[k] = min(best[k], time.perf_counter() - start)
    return best


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


def show(what: str, ours: float, others: float, name: str, size: int) -> None:
    speed = f"{ours:>8.3f} s {size / ours / 1e6:>7.2f} MB/s"
    print(f"{what:<32}{speed}   {name:<11}{others:>8.3f} s   ours takes {ours / others:.2f}x")


def forgetful(tokenizer: BPETokenizer) -> Callable[[str], list[int]]:
    """`tokenizer.encode` with the cache of chunks emptied before each call, as on a text never seen."""

    def encode(text: str) -> list[int]:
        tokenizer._cache.clear()
        return tokenizer.encode(text)

    return encode


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else project_root() / "data" / "input.txt"
    once = path.read_text(encoding="utf-8-sig")
    text = once * -(-1_000_000 // max(len(once), 1))
    size = len(text.encode())
    print(f"{path}: {size / 1e6:.2f} MB, best of {ROUNDS} rounds\n")
    for vocab_size in VOCAB_SIZES:
        jobs = (lambda n=vocab_size: BPETokenizer.train(text, n), lambda n=vocab_size: train_hf(text, n))
        show(f"train to {vocab_size}", *side_by_side(jobs), "tokenizers", size)

    ours, theirs = BPETokenizer.train(text, 512), train_hf(text, 512)
    jobs = (lambda: forgetful(ours)(text), lambda: theirs.encode(text))
    show("encode with 512, cache empty", *side_by_side(jobs), "tokenizers", size)

    gpt2, tiktoken = BPETokenizer.from_gpt2(), GPT2Tokenizer()
    jobs = (lambda: forgetful(gpt2)(text), lambda: tiktoken.encode(text))
    show("encode as GPT-2, cache empty", *side_by_side(jobs), "tiktoken", size)
    jobs = (lambda: gpt2.encode(text), lambda: tiktoken.encode(text))
    show("encode as GPT-2, cache full", *side_by_side(jobs), "tiktoken", size)
    ids = tiktoken.encode(text)
    jobs = (lambda: gpt2.decode(ids), lambda: tiktoken._encoding.decode(ids))
    show("decode as GPT-2", *side_by_side(jobs), "tiktoken", size)


if __name__ == "__main__":
    main()
