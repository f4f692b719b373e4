"""Five ways to turn a text into ids and back, behind one protocol. Start reading at base.py."""

from gptlib.tokenizers.base import END_OF_TEXT, Tokenizer
from gptlib.tokenizers.bpe import BPETokenizer
from gptlib.tokenizers.characters import CharTokenizer
from gptlib.tokenizers.gpt2 import GPT2Tokenizer
from gptlib.tokenizers.load import TOKENIZER_FILE, TOKENIZERS, load_tokenizer, tokenizer_from_dict, train_tokenizer
from gptlib.tokenizers.sentencepiece import SentencePieceTokenizer
from gptlib.tokenizers.vocabulary import gpt2_vocabulary_source
from gptlib.tokenizers.words import WordTokenizer

__all__ = [
    "END_OF_TEXT",
    "TOKENIZERS",
    "TOKENIZER_FILE",
    "BPETokenizer",
    "CharTokenizer",
    "GPT2Tokenizer",
    "SentencePieceTokenizer",
    "Tokenizer",
    "WordTokenizer",
    "gpt2_vocabulary_source",
    "load_tokenizer",
    "tokenizer_from_dict",
    "train_tokenizer",
]
