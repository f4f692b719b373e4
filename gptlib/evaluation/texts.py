"""Numbers on texts that a model has written: likeness to what a person wrote there, variety, repetition.

Each looks at one side only. BLEU punishes every good sentence that isn't the one in the book, and noise is as varied as
can be: read them together, and beside the same numbers of a person's text.
"""

from collections.abc import Hashable, Iterator, Sequence

from gptlib.utils.validation import whole_number


def bleu(written: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU (Papineni et al. 2002), 0 to 100, as `sacrebleu` counts it by default; one reference for each text.

    Raises ValueError if the two are not as many, at least one; RuntimeError if sacrebleu is not installed.
    """
    sacrebleu = require_sacrebleu()
    if isinstance(written, str) or isinstance(references, str):
        raise ValueError("BLEU compares lists of texts, and one is a str; put it into a list.")
    if len(written) != len(references) or not written:
        raise ValueError(f"{len(written)} texts and {len(references)} references do not pair up; give as many of both.")
    return sacrebleu.corpus_bleu(list(written), [list(references)]).score


def require_sacrebleu():
    """The module; RuntimeError, saying how to install it, if it is missing."""
    try:
        import sacrebleu
    except ImportError:
        raise RuntimeError("BLEU needs sacrebleu, which is not installed; run `pip install sacrebleu`.") from None
    return sacrebleu


def ngrams(tokens: Sequence[Hashable], n: int) -> Iterator[tuple]:
    """Example, n = 2: the words "a b c" -> ("a", "b"), ("b", "c")"""
    whole_number("n", n, 1)
    return (tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def distinct(sequences: Sequence[Sequence[Hashable]], n: int) -> float:
    """distinct-n: how many different n-grams all sequences have together, as a share of all their n-grams, if any.

    sequences: lists of words, or of tokens. Longer ones have lower shares, so compare those of like length. (Li et al.
    2016, section 5, divide by the number of words, so that texts without any repetition stay below 1 for n > 1.)
    """
    grams = [gram for sequence in sequences for gram in ngrams(sequence, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repetition(sequences: Sequence[Sequence[Hashable]], n: int = 4) -> float:
    """seq-rep-n (Welleck et al. 2020): the share of n-grams that a sequence had before, the mean over sequences.

    Sequences of fewer than n words are left out; 0 if none is left.
    """
    shares = [1 - len(set(grams)) / len(grams) for sequence in sequences if (grams := list(ngrams(sequence, n)))]
    return sum(shares) / len(shares) if shares else 0.0
