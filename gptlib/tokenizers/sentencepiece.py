"""SentencePiece, the tokenizer of T5 and Llama, through its library, with settings that lose nothing.

By itself the library normalises: it folds characters, drops doubled spaces and adds one in front. All of that is off
here, and what the vocabulary can't spell falls back to bytes. See https://github.com/google/sentencepiece and
Kudo (2018), "Subword regularization" (https://arxiv.org/abs/1804.10959), for the unigram model.
"""

import base64
import binascii
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Literal, Self

import regex

from gptlib.tokenizers.base import END_OF_TEXT, BaseTokenizer, check_vocab_size, repair_surrogates
from gptlib.tokenizers.texts import whole_words

SPACE = "▁"  # U+2581: the library writes a space so, and takes a real one in a text for a space
N_FIXED = 3 + 256  # <unk>, <|endoftext|>, the newline, and the bytes

_WORD = regex.compile(rf" ?[^\s{SPACE}]+")
_LONGEST = 1000  # characters of a "word" in training; the library skips what is over 4192 bytes


class SentencePieceTokenizer(BaseTokenizer):
    """A trained SentencePiece model: 0 is `<unk>` (never used), 1 `<|endoftext|>`, 2 the newline, then the bytes."""

    type = "sentencepiece"

    def __init__(self, model: bytes) -> None:
        """`model`: the library's serialized model, as `train` makes it. Raises: ValueError for anything else."""
        import sentencepiece  # here, because it is a compiled library that only this class needs

        try:
            if not model:
                raise RuntimeError("it is empty")  # the library would take it and crash later
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise ValueError(f"The {len(model)} bytes are no SentencePiece model ({error}): train it anew.") from None
        self.model = model
        tokens = [self._piece_bytes(i) for i in range(self._processor.vocab_size())]
        self._byte_ids = [self._processor.piece_to_id(f"<0x{b:02X}>") for b in range(256)]
        eos = self._processor.piece_to_id(END_OF_TEXT)
        if not self._processor.is_control(eos) or not all(map(self._processor.is_byte, self._byte_ids)):
            raise ValueError(
                f"The SentencePiece model of {len(tokens)} pieces lacks {END_OF_TEXT} or the byte pieces: "
                f"train it with SentencePieceTokenizer.train."
            )
        super().__init__(tokens, {END_OF_TEXT: eos})

    @classmethod
    def train(
        cls,
        text: str | Iterable[str],
        vocab_size: int = 1024,
        model_type: Literal["unigram", "bpe"] = "unigram",
    ) -> Self:
        """Train on the words of `text`, each with its count, so that a stream of any length fits in memory.

        Raises: ValueError for a vocabulary too small or too large for the text, an empty text, a wrong `model_type`.
        """
        if model_type not in ("unigram", "bpe"):
            raise ValueError(f"model_type is {model_type!r}: 'unigram' or 'bpe' is needed.")
        size = check_vocab_size(vocab_size, N_FIXED + 1, f"the {N_FIXED} fixed tokens and a piece of text")
        counts = Counter(chain.from_iterable(map(_WORD.findall, whole_words(text))))
        if not counts:
            raise ValueError("The text to train on has only white space: SentencePiece needs words.")
        return cls(_train_model(counts, size, model_type))

    def _encode_ordinary(self, text: str) -> list[int]:
        # A real "▁" would come back as a space, so it is spelled in bytes.
        spelled = [self._byte_ids[b] for b in SPACE.encode()]
        first, *others = repair_surrogates(text).split(SPACE)
        ids: list[int] = self._processor.encode(first)
        for part in others:
            ids += spelled + self._processor.encode(part)
        return ids

    def _piece_bytes(self, i: int) -> bytes:
        piece: str = self._processor.id_to_piece(i)
        if self._processor.is_byte(i):
            return bytes([int(piece[3:5], 16)])  # "<0x41>"
        return piece.replace(SPACE, " ").encode()

    def _state(self) -> dict[str, Any]:
        return {"model": base64.b64encode(self.model).decode("ascii")}

    @classmethod
    def _from_state(cls, data: dict[str, Any]) -> Self:
        model = data.get("model")
        try:
            return cls(base64.b64decode(model, validate=True))
        except (TypeError, binascii.Error):
            raise ValueError(
                f"'model' of the saved SentencePiece tokenizer is {str(model)[:40]!r}, not base64: save it anew."
            ) from None


def _training_lines(counts: Counter[str]) -> Iterator[str]:
    """Lines "word<tab>count", sorted, so that the model depends on the text alone and not on its order."""
    yield f" \t{max(counts.values())}"  # the space must be in the vocabulary whatever the text
    for word in sorted(counts):
        for i in range(0, len(word), _LONGEST):
            yield f"{word[i : i + _LONGEST]}\t{counts[word]}"


def _train_model(counts: Counter[str], vocab_size: int, model_type: str) -> bytes:
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_training_lines(counts),
            input_format="tsv",
            model_writer=model,
            model_type=model_type,
            vocab_size=vocab_size,
            # nothing is changed, dropped or added
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            byte_fallback=True,
            user_defined_symbols=["\n"],
            # the special tokens
            unk_id=0,
            eos_id=1,
            eos_piece=END_OF_TEXT,
            bos_id=-1,
            pad_id=-1,
            num_threads=2,  # fixed: sums of floats depend on how the work is shared out
            minloglevel=2,  # errors only
        )
    except RuntimeError as error:
        raise ValueError(_in_one_sentence(str(error), vocab_size)) from None
    return model.getvalue()


def _in_one_sentence(message: str, vocab_size: int) -> str:
    """The library's error with the figure that helps, where it is one of the two that a wrong size causes."""
    if found := re.search(r"to a value <= (\d+)", message):
        return f"vocab_size is {vocab_size}: this text is enough for {found[1]} at most; lower it, or add text."
    if found := re.search(r"required_chars\. \d+ vs (\d+)", message):
        return f"vocab_size is {vocab_size}: this text's characters need at least {found[1]}; raise it."
    return f"SentencePiece could not be trained with vocab_size {vocab_size} ({message}): try another size or text."
