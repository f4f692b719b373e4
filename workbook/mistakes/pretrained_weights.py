"""Chapter 7's wrong implementations, as learners write them; `pretrained_weights.py` says what is wrong with each."""

import json

import torch
from torch import Tensor, nn

WORDS = {
    "h": "blocks",
    "ln_1": "norm_1",
    "attn": "attention",
    "ln_2": "norm_2",
    "mlp": "feed_forward",
    "wte": "token_embedding",
    "wpe": "position_embedding",
    "ln_f": "final_norm",
    "lm_head": "output_head",
}


def _numbers(piece: bytes) -> Tensor:
    return torch.frombuffer(bytearray(piece), dtype=torch.float32)


def _entry(raw: bytes, name: str) -> tuple[int, dict]:
    length = int.from_bytes(raw[:8], "little")
    return length, json.loads(raw[8 : 8 + length])[name]


def read_from_start(raw: bytes, name: str) -> Tensor:
    _, entry = _entry(raw, name)
    first, last = entry["data_offsets"]
    return _numbers(raw[first:last]).reshape(entry["shape"])


def read_without_eight(raw: bytes, name: str) -> Tensor:
    length, entry = _entry(raw, name)
    first, last = entry["data_offsets"]
    return _numbers(raw[length + first : length + last]).reshape(entry["shape"])


def read_flat(raw: bytes, name: str) -> Tensor:
    length, entry = _entry(raw, name)
    first, last = entry["data_offsets"]
    return _numbers(raw[8 + length + first : 8 + length + last])


def read_end_as_count(raw: bytes, name: str) -> Tensor:
    length, entry = _entry(raw, name)
    first, count = entry["data_offsets"]
    start = 8 + length + first
    return _numbers(raw[start : start + count]).reshape(entry["shape"])


def read_to_the_end(raw: bytes, name: str) -> Tensor:
    length, entry = _entry(raw, name)
    return _numbers(raw[8 + length + entry["data_offsets"][0] :]).reshape(entry["shape"])


def read_big_endian(raw: bytes, name: str) -> Tensor:
    length = int.from_bytes(raw[:8], "big")
    entry = json.loads(raw[8 : 8 + length])[name]
    first, last = entry["data_offsets"]
    return _numbers(raw[8 + length + first : 8 + length + last]).reshape(entry["shape"])


def read_entry_only(raw: bytes, name: str) -> list:
    return _entry(raw, name)[1]


def read_as_whole_numbers(raw: bytes, name: str) -> Tensor:
    length, entry = _entry(raw, name)
    first, last = entry["data_offsets"]
    return torch.tensor(list(raw[8 + length + first : 8 + length + last]))


def read_without_header(raw: bytes, name: str) -> Tensor:
    _, entry = _entry(raw, name)
    first, last = entry["data_offsets"]
    return _numbers(raw[8 + first : 8 + last]).reshape(entry["shape"])


def read_header_cut_short(raw: bytes, name: str) -> Tensor:
    length = int.from_bytes(raw[:8], "little")
    entry = json.loads(raw[8:length])[name]
    first, last = entry["data_offsets"]
    return _numbers(raw[8 + length + first : 8 + length + last]).reshape(entry["shape"])


def read_header_with_length(raw: bytes, name: str) -> Tensor:
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[: 8 + length])[name]


def read_two_bytes_of_length(raw: bytes, name: str) -> Tensor:
    length = raw[0] + 256 * raw[1]
    entry = json.loads(raw[8 : 8 + length])[name]
    first, last = entry["data_offsets"]
    return _numbers(raw[8 + length + first : 8 + length + last]).reshape(entry["shape"])


def read_other_header(raw: bytes, name: str) -> Tensor:
    header = {"transformer.wte.weight": {"shape": [2, 3], "data_offsets": [0, 24]}}  # as the notebook's own
    return _numbers(raw[slice(*header[name]["data_offsets"])])


def read_offsets_of_numbers(raw: bytes, name: str) -> Tensor:
    length, entry = _entry(raw, name)
    first, last = entry["data_offsets"]
    return _numbers(raw[8 + length :])[first:last].reshape(entry["shape"])


def linear_assigned_as_stored(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(*weight.shape)
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return layer


def linear_copied_as_stored(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(*weight.shape)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer


def linear_reshaped(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(*weight.shape)
    with torch.no_grad():
        layer.weight.copy_(weight.reshape(layer.weight.shape))
        layer.bias.copy_(bias)
    return layer


def linear_made_the_other_way(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight.t())
        layer.bias.copy_(bias)
    return layer


def linear_while_recording(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(*weight.shape)
    layer.weight.copy_(weight.t())
    layer.bias.copy_(bias)
    return layer


def linear_of_tensors(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(*weight.shape)
    layer.weight = weight.t()
    return layer


def linear_turned_instead(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer


def linear_without_bias(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(*weight.shape)
    with torch.no_grad():
        layer.weight.copy_(weight.t())
    return layer


def linear_copied_back(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(*weight.shape)
    with torch.no_grad():
        weight.t().copy_(layer.weight)
        bias.copy_(layer.bias)
    return layer


def linear_of_uncalled_t(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(*weight.shape)
    with torch.no_grad():
        layer.weight.copy_(weight.t)
    return layer


def linear_of_a_shape(weight: Tensor, bias: Tensor) -> nn.Linear:
    return nn.Linear(weight.shape)


def linear_from_two_to_three(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(2, 3)
    with torch.no_grad():
        layer.weight.copy_(weight.t())
        layer.bias.copy_(bias)
    return layer


def name_replaced_everywhere(name: str) -> str:
    name = name.replace("transformer.", "")
    for theirs, ours in WORDS.items():
        name = name.replace(theirs, ours)
    return name


def name_with_c_attention(name: str) -> str:
    name = name.removeprefix("transformer.")
    if name.startswith("h."):
        name = "blocks." + name.removeprefix("h.")
    for theirs in list(WORDS)[1:]:
        name = name.replace(theirs, WORDS[theirs])
    return name


def name_with_prefix(name: str) -> str:
    return ".".join(WORDS.get(word, word) for word in name.split("."))


def name_always_cut(name: str) -> str:
    return ".".join(WORDS.get(word, word) for word in name[len("transformer.") :].split("."))


def name_second_word_always(name: str) -> str:
    return ".".join(WORDS.get(word, word) for word in name.split(".")[1:])


def name_first_word_only(name: str) -> str:
    first, *rest = name.removeprefix("transformer.").split(".")
    return ".".join([WORDS.get(first, first), *rest])


def name_known_words_only(name: str) -> str:
    return ".".join(WORDS[word] for word in name.removeprefix("transformer.").split("."))


def name_as_list(name: str) -> list[str]:
    return [WORDS.get(word, word) for word in name.removeprefix("transformer.").split(".")]


def name_untranslated(name: str) -> str:
    words = name.removeprefix("transformer.").split(".")
    for word in words:
        word = WORDS.get(word, word)  # gives the name to another text; the list stays as it is
    return ".".join(words)


def name_looked_up_whole(name: str) -> str:
    return WORDS.get(name, name)


def name_with_last_dot(name: str) -> str:
    return "".join(WORDS.get(word, word) + "." for word in name.removeprefix("transformer.").split("."))


def name_without_unknown(name: str) -> str:
    return ".".join(WORDS[word] for word in name.removeprefix("transformer.").split(".") if word in WORDS)


def name_of_nones(name: str) -> str:
    return ".".join(WORDS.get(word) for word in name.removeprefix("transformer.").split("."))


def name_stripped(name: str) -> str:
    return ".".join(WORDS.get(word, word) for word in name.strip("transformer.").split("."))  # noqa: B005


def name_own_words_replaced(name: str) -> str:
    name = name.removeprefix("transformer.")
    for word in name.split("."):
        name = name.replace(word, WORDS.get(word, word))
    return name


def name_in_fixed_places(name: str) -> str:
    words = name.removeprefix("transformer.").split(".")
    words[0], words[2] = WORDS.get(words[0], words[0]), WORDS.get(words[2], words[2])
    return ".".join(words)


def heads_first(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    C = weight.shape[0]
    return weight.view(C, n_heads, 3, C // n_heads)[:, head].unbind(1)


def heads_innermost(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    C = weight.shape[0]
    return weight.view(C, n_heads, C // n_heads, 3)[:, head].unbind(2)


def heads_dealt_out(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    return tuple(part[:, head::n_heads] for part in weight.chunk(3, dim=1))


def heads_by_rows(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    D = weight.shape[0] // n_heads
    return tuple(part[head * D : (head + 1) * D] for part in weight.chunk(3, dim=1))


def heads_split_by_rows(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    D = weight.shape[0] // n_heads
    q, k, v = weight.split(weight.shape[0])
    return tuple(part[:, head * D : (head + 1) * D] for part in (q, k, v))


def heads_transposed(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    D = weight.shape[0] // n_heads
    return tuple(part[:, head * D : (head + 1) * D].t() for part in weight.chunk(3, dim=1))


def heads_not_cut(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    return weight.chunk(3, dim=1)


def heads_from_one(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    D = weight.shape[0] // n_heads
    return tuple(part[:, (head - 1) * D : head * D] for part in weight.chunk(3, dim=1))


def heads_of_width_n_heads(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    return tuple(part[:, head * n_heads : (head + 1) * n_heads] for part in weight.chunk(3, dim=1))


def _heads(weight: Tensor, C: int, D: int, head: int) -> tuple[Tensor, ...]:
    q, k, v = weight.split(C, dim=1)
    return tuple(part[:, head * D : (head + 1) * D] for part in (q, k, v))


def heads_of_the_figure(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    return _heads(weight, 4, 2, head)


def heads_two_wide(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    return _heads(weight, weight.shape[0], 2, head)


def heads_three_times_as_wide(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    return _heads(weight, weight.shape[1] // 3, weight.shape[1] // n_heads, head)


def heads_split_by_three(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    return _heads(weight, 3, weight.shape[0] // n_heads, head)


def heads_chunked_by_rows(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    D = weight.shape[0] // n_heads
    q, k, v = weight.chunk(3)
    return tuple(part[:, head * D : (head + 1) * D] for part in (q, k, v))


def heads_reshaped(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    C = weight.shape[0]
    D = C // n_heads
    return tuple(part[:, head * D : (head + 1) * D] for part in weight.reshape(3, C, C))


def heads_from_their_number(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    D = weight.shape[0] // n_heads
    return tuple(part[:, head : head + D] for part in weight.chunk(3, dim=1))


def heads_to_their_width(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    D = weight.shape[0] // n_heads
    return tuple(part[:, head * D : D] for part in weight.chunk(3, dim=1))


def heads_of_a_float(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, ...]:
    return _heads(weight, weight.shape[0], weight.shape[0] / n_heads, head)


LAYERS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")


def _block(tensors: dict, i: int, transposed=LAYERS, turn=Tensor.t, words=WORDS) -> dict:
    state = {}
    for theirs in ("ln_1", *LAYERS[:2], "ln_2", *LAYERS[2:]):
        for end in ("weight", "bias"):
            tensor = tensors[f"h.{i}.{theirs}.{end}"]
            ours = ".".join(words.get(word, word) for word in theirs.split("."))
            state[f"{ours}.{end}"] = turn(tensor) if theirs in transposed and end == "weight" else tensor
    return state


def block_as_stored(tensors: dict, i: int) -> dict:
    return _block(tensors, i, transposed=())


def block_square_forgotten(tensors: dict, i: int) -> dict:
    return _block(tensors, i, transposed=("attn.c_attn", "mlp.c_fc", "mlp.c_proj"))


def block_attention_only(tensors: dict, i: int) -> dict:
    return _block(tensors, i, transposed=LAYERS[:2])


def block_c_attn_only(tensors: dict, i: int) -> dict:
    return _block(tensors, i, transposed=LAYERS[:1])


def block_feed_forward_only(tensors: dict, i: int) -> dict:
    return _block(tensors, i, transposed=LAYERS[2:])


def block_reshaped(tensors: dict, i: int) -> dict:
    return _block(tensors, i, turn=lambda tensor: tensor.reshape(tensor.shape[::-1]))


def block_zero(tensors: dict, i: int) -> dict:
    return _block(tensors, 0)


def block_norms_swapped(tensors: dict, i: int) -> dict:
    return _block(tensors, i, words={**WORDS, "ln_1": "norm_2", "ln_2": "norm_1"})


def block_with_mask(tensors: dict, i: int) -> dict:
    return {**_block(tensors, i), "attention.bias": tensors[f"h.{i}.attn.bias"]}


def block_without_c_attn_bias(tensors: dict, i: int) -> dict:
    return {name: tensor for name, tensor in _block(tensors, i).items() if not name.endswith("attn.bias")}


def block_with_full_names(tensors: dict, i: int) -> dict:
    return {f"blocks.{i}.{name}": tensor for name, tensor in _block(tensors, i).items()}


def block_under_their_names(tensors: dict, i: int) -> dict:
    return _block(tensors, i, words={})


def block_without_dot(tensors: dict, i: int) -> dict:
    state = {}
    for name, tensor in tensors.items():
        if name.startswith(f"h.{i}") and not name.endswith(".attn.bias"):
            ours = ".".join(WORDS.get(word, word) for word in name.split(".")[2:])
            state[ours] = tensor.t() if "c_" in name and tensor.ndim == 2 else tensor
    return state


def block_without_biases(tensors: dict, i: int) -> dict:
    return {name: tensor for name, tensor in _block(tensors, i).items() if not name.endswith("bias")}


def _walked(tensors: dict, start: str, cut: str) -> dict:
    """The parameters whose names begin with `start`, transposed, under our names without `cut` in front."""
    state = {}
    for name, tensor in tensors.items():
        if name.startswith(start) and tensor.ndim < 3:
            ours = ".".join(WORDS.get(word, word) for word in name.split("."))
            state[ours.removeprefix(cut)] = tensor.t()
    return state


def block_empty(tensors: dict, i: int) -> dict:
    return _walked(tensors, f"transformer.h.{i}.", f"blocks.{i}.")


def block_with_everything(tensors: dict, i: int) -> dict:
    return _walked(tensors, "", f"blocks.{i}.")


def block_and_tenth(tensors: dict, i: int) -> dict:
    return _walked(tensors, f"h.{i}", f"blocks.{i}.")


def block_behind_a_dot(tensors: dict, i: int) -> dict:
    return _walked(tensors, f"h.{i}.", f"blocks.{i}")


def block_under_their_full_names(tensors: dict, i: int) -> dict:
    transposed = {name: tensor.t() for name, tensor in tensors.items() if tensor.ndim < 3}
    return {name: tensor for name, tensor in transposed.items() if name.startswith(f"h.{i}.")}


def block_mask_turned(tensors: dict, i: int) -> dict:
    return {name: tensor.t() for name, tensor in tensors.items() if name.startswith(f"h.{i}.")}


def block_of_longer_names(tensors: dict, i: int) -> dict:
    return {"norm_1.weight": tensors[f"transformer.h.{i}.ln_1.weight"]}
