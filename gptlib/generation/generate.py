"""From a prompt to text: token by token generation with a KV cache, batches of prompts, streaming.

`generate_tokens` is the loop; the rest is getting text in and out. How a token is chosen is in `sampling`.
"""

import codecs
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gptlib.generation.decoding import Decoder, decoder_for
from gptlib.generation.sampling import check_sampling, sample
from gptlib.model import GPTModel, eval_mode
from gptlib.model.attention import KVCache
from gptlib.tokenizers import Tokenizer
from gptlib.utils.validation import whole_number


@torch.no_grad()
def next_logits(
    model: GPTModel,
    ids: Tensor,
    cache: KVCache | None = None,
    pad_lengths: Tensor | None = None,
    decoder: Decoder | None = None,
) -> Tensor:
    """The logits (B, V) of the token after ids (B, T); with a cache, only what it has not seen is computed.

    decoder: made for this model and cache; it computes single new positions.

    If T is over the model's context_length, the last context_length tokens are seen. Positions then move with
    every token, so nothing cached is right any longer, and the window is computed again.
    """
    context = model.config.context_length
    beyond = max(ids.shape[1] - context, 0)
    if cache is not None and not beyond:
        if decoder is not None and ids.shape[1] == cache.length + 1:
            return decoder(ids[:, -1:])
        return model(ids[:, cache.length :], cache=cache, pad_lengths=pad_lengths, last_only=True)[:, -1]
    if pad_lengths is not None:
        pad_lengths = (pad_lengths - beyond).clamp(min=0)
    return model(ids[:, -context:], pad_lengths=pad_lengths, last_only=True)[:, -1]


def generate_tokens(
    model: GPTModel,
    ids: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    eos_id: int | None = None,
    seed: int | None = None,
    pad_lengths: Tensor | None = None,
    use_cache: bool = True,
    vocab_size: int | None = None,
) -> Iterator[Tensor]:
    """Yield the next token of every row, (B,) int64, until max_new_tokens or until every row has had eos_id.

    ids (B, T): the prompts. pad_lengths (B,): how many tokens at the left of each are padding. A finished row
    yields eos_id. vocab_size: only ids below it are drawn, for a model that knows more tokens than its tokenizer
    (a padded vocabulary). Without a seed, PyTorch's global random state decides.
    """
    check_sampling(max_new_tokens, temperature, top_k, top_p)
    context = model.config.context_length
    _check_prompt(ids, max_new_tokens, context)
    ids = ids.to(model.device)
    batch, n = ids.shape
    pad_lengths = pad_lengths.to(ids.device) if pad_lengths is not None and pad_lengths.any() else None
    cache = model.new_cache(batch, n + max_new_tokens) if use_cache and n <= context else None
    decoder = decoder_for(model, cache, pad_lengths) if cache is not None and max_new_tokens > 1 else None
    generator = None if seed is None else torch.Generator(ids.device).manual_seed(seed)
    finished = torch.zeros(batch, dtype=torch.bool, device=ids.device)

    modules = list(model.modules())
    for _ in range(max_new_tokens):
        with eval_mode(modules):  # not around the loop: a stream left half read leaves the model as it was
            logits = next_logits(model, ids, cache, pad_lengths, decoder)[:, :vocab_size]  # (B, V)
        token = sample(logits, temperature, top_k, top_p, generator)
        if eos_id is not None:
            token = token.masked_fill(finished, eos_id)
            finished |= token == eos_id
        yield token
        if eos_id is not None and finished.all():
            return
        ids = torch.cat((ids, token[:, None]), dim=1)


def _check_prompt(ids: Tensor, max_new_tokens: int, context: int) -> None:
    if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.shape[1] == 0:
        found = f"one of shape {tuple(ids.shape)}" if isinstance(ids, Tensor) else repr(ids)
        raise ValueError(f"The prompt is a tensor of ids (batch, n) with n of at least 1, not {found}.")
    n = ids.shape[1]
    if max_new_tokens and n + max_new_tokens - 1 > context:
        warnings.warn(
            f"The prompt of {n} tokens with {max_new_tokens} new ones is longer than the model's context of {context}; "
            f"only the last {context} tokens are seen from there on, and each new one takes longer.",
            stacklevel=4,
        )


def generate(
    model: GPTModel,
    ids: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    eos_id: int | None = None,
    seed: int | None = None,
    pad_lengths: Tensor | None = None,
    use_cache: bool = True,
    vocab_size: int | None = None,
) -> Tensor:
    """Continue ids (batch, n) -> (batch, n + new), the prompt included; new is at most max_new_tokens.

    temperature=0 is greedy. A row that has produced eos_id is filled up with it, and when all have, generation ends.
    Past context_length, the last context_length tokens are seen. The same seed gives the same tokens. The other
    options are those of `generate_tokens`. Raises ValueError, naming the parameter, if one makes no sense.
    """
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "eos_id": eos_id, "seed": seed}
    options |= {"pad_lengths": pad_lengths, "use_cache": use_cache, "vocab_size": vocab_size}
    tokens = list(generate_tokens(model, ids, max_new_tokens, **options))
    ids = ids.to(model.device)
    return torch.cat((ids, torch.stack(tokens, dim=1)), dim=1) if tokens else ids


def encode_prompts(tokenizer: Tokenizer, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Prompts of any lengths -> ids (batch, n), padded on the left, and pad_lengths (batch,).

    On the left, because a row is continued at its right end. An empty prompt becomes the end-of-text token, after
    which a new text begins; a tokenizer that has none refuses it with ValueError.
    """
    rows = []
    for prompt in prompts:
        ids = tokenizer.encode(prompt)
        if not ids and tokenizer.eos_id is None:
            raise ValueError(f"The prompt {prompt!r} is empty; give at least one character to continue.")
        rows.append(ids or [tokenizer.eos_id])
    longest = max(map(len, rows))
    pad_lengths = torch.tensor([longest - len(ids) for ids in rows])
    return torch.tensor([[0] * (longest - len(ids)) + ids for ids in rows]), pad_lengths


def generate_text(
    model: GPTModel,
    tokenizer: Tokenizer,
    prompt: str | Sequence[str],
    max_new_tokens: int,
    *,
    num_samples: int | None = None,
    **options,
) -> str | list[str]:
    """Continue a prompt (-> str), or a list of prompts of any lengths in one batch (-> list), prompts included.

    num_samples: that many continuations of each prompt (-> list, those of a prompt side by side). A text ends before
    its end-of-text token. The options are those of `generate`: temperature, top_k, top_p, seed, use_cache, eos_id
    (by default the tokenizer's). Raises ValueError if an option makes no sense or the tokenizer is not the model's.
    """
    check_tokenizer(model, tokenizer)
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not prompts:
        raise ValueError("The list of prompts is empty; pass at least one prompt.")
    if num_samples is not None:
        whole_number("num_samples", num_samples, 1)
    prompts = [text for text in prompts for _ in range(num_samples or 1)]
    ids, pad_lengths = encode_prompts(tokenizer, prompts)
    options = {"eos_id": tokenizer.eos_id, "vocab_size": tokenizer.vocab_size} | options
    out = generate(model, ids, max_new_tokens, pad_lengths=pad_lengths, **options)[:, ids.shape[1] :].tolist()
    texts = []
    for text, new in zip(prompts, out, strict=True):
        end = new.index(options["eos_id"]) if options["eos_id"] in new else len(new)
        texts.append(text + tokenizer.decode(new[:end]))
    return texts[0] if isinstance(prompt, str) and num_samples is None else texts


def stream(model: GPTModel, tokenizer: Tokenizer, prompt: str, max_new_tokens: int, **options) -> Iterator[str]:
    """Yield the continuation of one prompt piece by piece, as soon as its characters are whole.

    A token may end in the middle of a character (of an emoji, say); such bytes wait for the rest. The pieces put
    together are what `generate_text` with the same options returns after the prompt.
    """
    check_tokenizer(model, tokenizer)
    if not isinstance(prompt, str):
        raise ValueError(f"stream() continues one prompt, a str, not {prompt!r}; use generate_text for several.")
    ids, _ = encode_prompts(tokenizer, [prompt])
    options = {"eos_id": tokenizer.eos_id, "vocab_size": tokenizer.vocab_size} | options
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in generate_tokens(model, ids, max_new_tokens, **options):
        if token.item() == options["eos_id"]:
            break
        if text := decoder.decode(tokenizer.token_bytes(token.item())):
            yield text
    if rest := decoder.decode(b"", final=True):
        yield rest


def check_tokenizer(model: GPTModel, tokenizer: Tokenizer) -> None:
    """Raise ValueError if the tokenizer can't be the one that the model was trained with."""
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"The tokenizer has {tokenizer.vocab_size} tokens and the model knows {model.config.vocab_size}; "
            "use the tokenizer that the model was trained with (load_checkpoint(...).tokenizer)."
        )
