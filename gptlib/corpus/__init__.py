"""From text files to token arrays: reading, splitting, preparing, loading. Start reading at reading.py."""

from gptlib.corpus.gutenberg import strip_gutenberg
from gptlib.corpus.named import CORPORA
from gptlib.corpus.prepared import Corpus, load_corpus, load_prepared, load_tokens
from gptlib.corpus.preparing import prepare_corpus
from gptlib.corpus.reading import read_text
from gptlib.corpus.split_files import split_text_file
from gptlib.corpus.splitting import split_text

__all__ = [
    "CORPORA",
    "Corpus",
    "load_corpus",
    "load_prepared",
    "load_tokens",
    "prepare_corpus",
    "read_text",
    "split_text",
    "split_text_file",
    "strip_gutenberg",
]
