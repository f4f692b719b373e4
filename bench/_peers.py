"""Ours, transformers and CTranslate2, each with one model from a saved folder, by the road that its users take.

All have the same methods, and so has llama.cpp in _llama_cpp.py. A rate of writing is that of the tokens between the
first and the last new one, so that reading the prompt is no part of it; one of reading is that of the prompt up to the
first new token.
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from gptlib.generation import generate_tokens
from gptlib.generation.quantization import INFERENCE_PRECISIONS
from gptlib.model import GPTModel
from gptlib.weights import load_hf_gpt2

PRECISIONS = tuple(precision for precision in INFERENCE_PRECISIONS if precision != "auto")
PROMPT = 16
LONG_PROMPT = 1023  # of a context of 1024: llama.cpp's server keeps a place free
TOP_K = 50


def prompts(batch: int, n: int, vocab_size: int) -> Tensor:
    """Random ids (batch, n), the same for all."""
    return torch.randint(vocab_size, (batch, n), generator=torch.Generator().manual_seed(batch))


def times_of(tokens: Iterable) -> list[float]:
    """When each of them came, in seconds, after the start."""
    start = time.perf_counter()
    return [time.perf_counter() - start for _ in tokens]


def rate_between(times: list[float], batch: int = 1) -> float:
    """Tokens a second from the first to the last."""
    return batch * (len(times) - 1) / (times[-1] - times[0])


class Ours:
    """gptlib by `load_hf_gpt2`: one model in each precision."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.models: dict[str, GPTModel] = {}

    def model(self, precision: str) -> GPTModel:
        if precision not in self.models:
            self.models[precision] = load_hf_gpt2(self.folder, precision=precision)
        return self.models[precision]

    def tokens(self, precision: str, batch: int, n_prompt: int, n: int) -> Iterator[Tensor]:
        model = self.model(precision)
        ids = prompts(batch, n_prompt, model.config.vocab_size)
        return generate_tokens(model, ids, n, top_k=TOP_K)

    def writing(self, precision: str, batch: int, n: int, n_prompt: int = PROMPT) -> float:
        return rate_between(times_of(self.tokens(precision, batch, n_prompt, n)), batch)

    def reading(self, precision: str) -> float:
        return LONG_PROMPT / times_of(self.tokens(precision, 1, LONG_PROMPT, 1))[0]


class Transformers:
    """GPT2LMHeadModel.generate, with its own cache."""

    def __init__(self, folder: Path):
        from transformers import GPT2LMHeadModel, logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        load = GPT2LMHeadModel.from_pretrained
        dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
        self.models = {precision: load(folder, dtype=dtype).eval() for precision, dtype in dtypes.items()}

    def times(self, precision: str, batch: int, n_prompt: int, n: int) -> list[float] | None:
        if (model := self.models.get(precision)) is None:
            return None
        ids, times = prompts(batch, n_prompt, model.config.vocab_size), _Times()
        options = {"max_new_tokens": n, "do_sample": True, "top_k": TOP_K, "pad_token_id": 0, "eos_token_id": None}
        times.start = time.perf_counter()
        model.generate(ids, attention_mask=torch.ones_like(ids), streamer=times, **options)
        return times.found[1:]  # first comes the prompt

    def writing(self, precision: str, batch: int, n: int, n_prompt: int = PROMPT) -> float | None:
        times = self.times(precision, batch, n_prompt, n)
        return times and rate_between(times, batch)

    def reading(self, precision: str) -> float | None:
        times = self.times(precision, 1, LONG_PROMPT, 1)
        return times and LONG_PROMPT / times[0]


class _Times:
    """What `generate` takes as a streamer: it is handed the prompt, and then the tokens of each step."""

    def __init__(self):
        self.start, self.found = 0.0, []

    def put(self, _) -> None:
        self.found.append(time.perf_counter() - self.start)

    def end(self) -> None:
        pass


class CTranslate2:
    """CTranslate2's Generator on the same weights; int8 quantizes weights and activations."""

    def __init__(self, folder: Path, target: Path):
        import ctranslate2
        from ctranslate2.converters import TransformersConverter

        from gptlib.weights.huggingface import read_config

        config = read_config(folder / "config.json")
        self.vocab_size = config.vocab_size

        class Converter(TransformersConverter):
            def load_tokenizer(self, *_, **__):  # the folder has random weights and needs no words
                return _Words(config.vocab_size)

        self.generators = {}
        for precision, kind in (("fp32", "float32"), ("int8", "int8")):
            Converter(str(folder)).convert(str(target / kind), quantization=kind)
            threads = {"inter_threads": 1, "intra_threads": torch.get_num_threads()}
            self.generators[precision] = ctranslate2.Generator(str(target / kind), compute_type=kind, **threads)

    def times(self, precision: str, batch: int, n_prompt: int, n: int) -> list[float] | None:
        if precision not in self.generators:
            return None
        ids = prompts(batch, n_prompt, self.vocab_size - 1)  # the last id is the end of a text
        start, times = time.perf_counter(), {}

        def note(step) -> None:  # each text has its own call for a step
            times[step.step] = time.perf_counter() - start

        options = {"max_length": n, "min_length": n, "sampling_topk": TOP_K, "end_token": [], "callback": note}
        texts = [[f"t{i}" for i in row] for row in ids.tolist()]
        self.generators[precision].generate_batch(texts, include_prompt_in_result=False, **options)
        return list(times.values())

    def writing(self, precision: str, batch: int, n: int, n_prompt: int = PROMPT) -> float | None:
        times = self.times(precision, batch, n_prompt, n)
        return times and rate_between(times, batch)

    def reading(self, precision: str) -> float | None:
        times = self.times(precision, 1, LONG_PROMPT, 1)
        return times and LONG_PROMPT / times[0]


class _Words:
    bos_token = eos_token = unk_token = "<|endoftext|>"
    pad_token = None
    additional_special_tokens = ()

    def __init__(self, vocab_size: int):
        self.vocab_size = vocab_size

    def get_vocab(self) -> dict[str, int]:
        return {f"t{i}": i for i in range(self.vocab_size - 1)} | {"<|endoftext|>": self.vocab_size - 1}
