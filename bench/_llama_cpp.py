"""llama.cpp as a peer: GGUF files of the weights of a folder, and its server, asked from Python.

pip install -r bench/requirements.txt      # xllamacpp carries llama.cpp, gguf writes its files
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from _peers import LONG_PROMPT, PROMPT, TOP_K, prompts
from torch import Tensor

from gptlib.model import GPTModel
from gptlib.weights import load_hf_gpt2
from gptlib.weights.huggingface import read_config

KINDS = {"fp32": ("F32",), "bf16": ("F16", "BF16"), "int8": ("Q8_0",), "int4": ("Q4_0",)}
"""What stands beside each precision of ours; of two, the faster."""

OUTER = {
    "token_embd": "token_embedding",
    "position_embd": "position_embedding",
    "output_norm": "final_norm",
    "output": "output_head",
}
INNER = {
    "attn_norm": "norm_1",
    "attn_qkv": "attention.c_attn",
    "attn_output": "attention.c_proj",
    "ffn_norm": "norm_2",
    "ffn_up": "feed_forward.c_fc",
    "ffn_down": "feed_forward.c_proj",
}
"""llama.cpp's names of the parts of a GPT-2, and ours."""


def named_tensors(model: GPTModel) -> dict[str, Tensor]:
    """All weights of a model by llama.cpp's names; a head that is tied to the embedding is left out."""
    modules = {theirs: ours for theirs, ours in OUTER.items() if theirs != "output" or not model.config.weight_tying}
    for i in range(model.config.n_layers):
        modules |= {f"blk.{i}.{theirs}": f"blocks.{i}.{ours}" for theirs, ours in INNER.items()}
    return {
        f"{theirs}.{name}": parameter.detach()
        for theirs, ours in modules.items()
        for name, parameter in model.get_submodule(ours).named_parameters()
    }


def write_gguf(model: GPTModel, path: Path, kind: str) -> Path:
    """The model as a GGUF file, its matrices as F32, F16, BF16, Q8_0 or Q4_0, as llama.cpp's own converter has them.

    Norms, biases and positions stay in F32. The words are names of the ids, since the prompts are ids. 8 and 4 bits
    need a width that 32 divides.
    """
    import gguf

    config, stored = model.config, gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.emb_dim)
    writer.add_feed_forward_length(4 * config.emb_dim)
    writer.add_block_count(config.n_layers)
    writer.add_head_count(config.n_heads)
    writer.add_layer_norm_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    last = config.vocab_size - 1
    writer.add_token_list([*(f"t{i}" for i in range(last)), "<|endoftext|>"])
    writer.add_token_types([gguf.TokenType.NORMAL] * last + [gguf.TokenType.CONTROL])
    writer.add_token_merges(["t 1"])
    writer.add_bos_token_id(last)
    writer.add_eos_token_id(last)
    writer.add_add_bos_token(False)
    for name, tensor in named_tensors(model).items():
        array = tensor.float().contiguous().numpy()
        if array.ndim == 1 or name == "position_embd.weight":
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(name, gguf.quantize(array, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class LlamaCpp:
    """llama.cpp's server with its own settings, but for threads and sampling, which are ours; one at a time is up.

    Several texts at once are slots of one server, whose rates are added. The times are those that the server gives.
    """

    def __init__(self, folder: Path, target: Path):
        self.folder, self.target = folder, target
        self.vocab_size = read_config(folder / "config.json").vocab_size
        self.context = read_config(folder / "config.json").context_length
        self.up: tuple[str, int] | None = None
        self.server: Any = None
        self.fastest: dict[tuple, str] = {}

    def start(self, kind: str, slots: int) -> None:
        """A server with these weights, unless it is up already."""
        import xllamacpp

        if self.up == (kind, slots):
            return
        self.server = None  # the last one ends before the next takes its memory
        path = self.target / f"{kind}.gguf"
        if not path.exists():
            write_gguf(load_hf_gpt2(self.folder), path, kind)
        settings = xllamacpp.CommonParams()
        settings.model.path = str(path)
        settings.n_parallel, settings.n_ctx = slots, slots * self.context
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = torch.get_num_threads()
        settings.verbosity = 0
        self.server, self.up = xllamacpp.Server(settings), (kind, slots)

    def complete(self, ids: list[int], n: int, **options) -> dict[str, Any]:
        """The server's answer to a prompt of ids, with its "timings"."""
        request = {"prompt": ids, "n_predict": n, "ignore_eos": True, "cache_prompt": False}
        request |= {"samplers": ["top_k", "temperature"], "top_k": TOP_K, "temperature": 1.0} | options
        answer = self.server.handle_completions(request)
        answer = json.loads(answer) if isinstance(answer, str) else answer
        if answer.get("timings", {}).get("predicted_n") != n:
            raise RuntimeError(f"llama.cpp was asked for {n} tokens and gave {str(answer)[:300]}.")
        return answer

    def kind(self, precision: str, *job) -> str:
        """What was the fastest for this job, and stands for it."""
        return self.fastest[precision, *job]

    def by_the_fastest(self, precision: str, job: tuple, slots: int, measure) -> float | None:
        """What `measure` gives, by the kind of weights that is the fastest in a first try."""
        kinds = KINDS.get(precision, ())
        if not kinds:
            return None
        if (precision, *job) not in self.fastest:
            tries = {}
            for kind in kinds:
                self.start(kind, slots)
                tries[kind] = max(measure(), measure()) if len(kinds) > 1 else 0.0
            self.fastest[precision, *job] = max(tries, key=tries.get)
        self.start(self.fastest[precision, *job], slots)
        return measure()

    def writing(self, precision: str, batch: int, n: int, n_prompt: int = PROMPT) -> float | None:
        ids = prompts(batch, n_prompt, self.vocab_size).tolist()

        def measure() -> float:
            with ThreadPoolExecutor(batch) as pool:
                answers = list(pool.map(lambda row: self.complete(row, n), ids))
            return sum(1000 * (n - 1) / answer["timings"]["predicted_ms"] for answer in answers)

        return self.by_the_fastest(precision, ("writing", batch), batch, measure)

    def reading(self, precision: str) -> float | None:
        ids = prompts(1, LONG_PROMPT, self.vocab_size).tolist()[0]
        measure = lambda: self.complete(ids, 1)["timings"]["prompt_per_second"]  # noqa: E731
        return self.by_the_fastest(precision, ("reading",), 1, measure)
