"""Chapter 10: the wrong implementations that `speed.py` recognises."""

import math

import torch

from gptlib.exercises.declaring import Mistake

# ------------------------------------------------------------------------------------------- arithmetic_intensity


def _one_per_pair(rows, k, n, size):
    return rows * k * n / (size * (n * k + rows * k + rows * n))


def _only_weights(rows, k, n, size):
    return 2 * rows * k * n / (size * n * k)


def _no_output(rows, k, n, size):
    return 2 * rows * k * n / (size * (n * k + rows * k))


def _no_input(rows, k, n, size):
    return 2 * rows * k * n / (size * (n * k + rows * n))


def _no_weights(rows, k, n, size):
    return 2 * rows * k * n / (size * (rows * k + rows * n))


def _numbers_for_bytes(rows, k, n, size):
    return 2 * rows * k * n / (n * k + rows * k + rows * n)


def _upside_down(rows, k, n, size):
    return size * (n * k + rows * k + rows * n) / (2 * rows * k * n)


def _weights_for_each_row(rows, k, n, size):
    return 2 * rows * k * n / (size * rows * (n * k + k + n))


def _one_row(rows, k, n, size):
    return 2 * k * n / (size * (n * k + rows * k + rows * n))


def _parenthesis_missing(rows, k, n, size):
    return 2 * rows * k * n / (size * n * k + rows * k + rows * n)


INTENSITY = (
    Mistake(_one_per_pair, "You count one operation for each pair of numbers; each is multiplied *and* added: two."),
    Mistake(
        _only_weights,
        "You count the bytes of the weights alone. The rows that come in are read too, and those that go out written.",
    ),
    Mistake(_no_output, "What comes out, `rows * n` numbers, has to be written to memory, and you don't count it."),
    Mistake(_no_input, "What comes in, `rows * k` numbers, has to be read, and you don't count it."),
    Mistake(_no_weights, "The matrix of weights itself is missing among your bytes; it is the largest part of them."),
    Mistake(_numbers_for_bytes, "You divide by the count of *numbers*; each of them takes `size` bytes."),
    Mistake(_one_row, "You count the operations of a single row; each row is multiplied with all weights."),
    Mistake(
        _parenthesis_missing,
        "Only the weights are multiplied by `size`; the numbers that come in and go out take as many bytes each. Is a "
        "parenthesis missing?",
    ),
    Mistake(_upside_down, "That is bytes for each operation. Turn the fraction over: operations for each byte."),
    Mistake(
        _weights_for_each_row,
        "You read the weights anew for each row. Read once, they serve all rows: that is what a batch is good for.",
    ),
)

# ------------------------------------------------------------------------------------------------- slower_limit


def _named(compute, read, pick):
    return pick(compute, read), "arithmetic" if compute > read else "memory"


def _one_after_the_other(flops, n_bytes, matmul_flops, memory_bandwidth):
    return _named(flops / matmul_flops, n_bytes / memory_bandwidth, lambda a, b: a + b)


def _the_faster(flops, n_bytes, matmul_flops, memory_bandwidth):
    return _named(flops / matmul_flops, n_bytes / memory_bandwidth, min)


def _names_swapped(flops, n_bytes, matmul_flops, memory_bandwidth):
    seconds, name = _named(flops / matmul_flops, n_bytes / memory_bandwidth, max)
    return seconds, "memory" if name == "arithmetic" else "arithmetic"


def _rates_swapped(flops, n_bytes, matmul_flops, memory_bandwidth):
    return _named(flops / memory_bandwidth, n_bytes / matmul_flops, max)


def _times_the_rate(flops, n_bytes, matmul_flops, memory_bandwidth):
    return _named(flops * matmul_flops, n_bytes * memory_bandwidth, max)


def _only_arithmetic(flops, n_bytes, matmul_flops, memory_bandwidth):
    return _named(flops / matmul_flops, 0.0, max)


def _only_memory(flops, n_bytes, matmul_flops, memory_bandwidth):
    return _named(0.0, n_bytes / memory_bandwidth, max)


def _only_the_time(flops, n_bytes, matmul_flops, memory_bandwidth):
    return max(flops / matmul_flops, n_bytes / memory_bandwidth)


def _places_changed(flops, n_bytes, matmul_flops, memory_bandwidth):
    seconds, name = _named(flops / matmul_flops, n_bytes / memory_bandwidth, max)
    return name, seconds


SLOWER = (
    Mistake(
        _one_after_the_other,
        "You add the two times. A processor reads the next numbers while it computes with the last ones, so the "
        "longer of the two counts, not their sum.",
    ),
    Mistake(_the_faster, "You return the shorter time. The job is done when *both* are done."),
    Mistake(_names_swapped, "The seconds are right, but the name is that of the faster of the two."),
    Mistake(_rates_swapped, "You divide operations by the bandwidth, and bytes by the rate of matmuls; swap them."),
    Mistake(_times_the_rate, "You multiply by the rate. Work divided by work a second gives seconds."),
    Mistake(_only_arithmetic, "You count the operations alone; some jobs wait for their bytes."),
    Mistake(_only_memory, "You count the bytes alone; some jobs wait for the arithmetic."),
    Mistake(_only_the_time, "The seconds are right. Return the name of the limit too: `seconds, name`."),
    Mistake(_places_changed, "The two have changed places: first the seconds, then the name."),
)

# --------------------------------------------------------------------------------------------- positions_computed


def _one_more(prompt, new):
    return sum(range(prompt, prompt + new)), (prompt + new if new else 0)


def _grown_before(prompt, new):
    return sum(range(prompt + 1, prompt + new + 1)), (prompt + new - 1 if new else 0)


def _one_step_more(prompt, new):
    return (sum(range(prompt, prompt + new + 1)), prompt + new - 1) if new else (0, 0)


def _last_length_each_time(prompt, new):
    return new * (prompt + new), (prompt + new - 1 if new else 0)


def _never_longer(prompt, new):
    return new * prompt, (prompt + new - 1 if new else 0)


def _only_new(prompt, new):
    return sum(range(prompt, prompt + new)), new


def _prompt_again(prompt, new):
    return sum(range(prompt, prompt + new)), new * (prompt + 1) - 1 if new else 0


def _other_way_round(prompt, new):
    return (prompt + new - 1 if new else 0), sum(range(prompt, prompt + new))


def _prompt_for_nothing(prompt, new):
    return sum(range(prompt, prompt + new)), prompt + new - 1


POSITIONS = (
    Mistake(
        _one_more,
        "With a cache you count the last token as computed. It is drawn and written down, but nobody runs the model on "
        "it: that would be the next step.",
    ),
    Mistake(
        _grown_before,
        "Without a cache you count one position too many in each step: the first step runs on the prompt alone.",
    ),
    Mistake(
        _one_step_more,
        "Without a cache you run one step too many: `new` tokens take `new` steps, the last of them on all but the "
        "token that it writes.",
    ),
    Mistake(
        _last_length_each_time,
        "Without a cache you count the whole text's length in each step. It was shorter in the steps before.",
    ),
    Mistake(_never_longer, "Without a cache you count the prompt alone in each step. The text grows by one each time."),
    Mistake(
        _only_new,
        "With a cache the first step computes the whole prompt, not one position. Count what each step computes.",
    ),
    Mistake(_prompt_again, "With a cache the prompt is computed once, in the first step; afterwards it is kept."),
    Mistake(_other_way_round, "The two numbers have changed places: first without a cache, then with one."),
    Mistake(_prompt_for_nothing, "Where no token is asked for, no step is run, and nothing is computed."),
)

# ------------------------------------------------------------------------------------------------ decoding_bytes


def _cache(n_layers, emb_dim, batch, seen, cache_size):
    return 2 * n_layers * batch * seen * emb_dim * cache_size


def _weights_alone(n_weights, weight_size, n_layers, emb_dim, batch, seen, cache_size):
    return n_weights * weight_size


def _weights_each_row(n_weights, weight_size, n_layers, emb_dim, batch, seen, cache_size):
    return batch * n_weights * weight_size + _cache(n_layers, emb_dim, batch, seen, cache_size)


def _one_cache(n_weights, weight_size, n_layers, emb_dim, batch, seen, cache_size):
    return n_weights * weight_size + _cache(n_layers, emb_dim, 1, seen, cache_size)


def _keys_alone(n_weights, weight_size, n_layers, emb_dim, batch, seen, cache_size):
    return n_weights * weight_size + _cache(n_layers, emb_dim, batch, seen, cache_size) // 2


def _one_layer(n_weights, weight_size, n_layers, emb_dim, batch, seen, cache_size):
    return n_weights * weight_size + _cache(1, emb_dim, batch, seen, cache_size)


def _newest_alone(n_weights, weight_size, n_layers, emb_dim, batch, seen, cache_size):
    return n_weights * weight_size + _cache(n_layers, emb_dim, batch, 1, cache_size)


def _one_size(n_weights, weight_size, n_layers, emb_dim, batch, seen, cache_size):
    return n_weights * weight_size + _cache(n_layers, emb_dim, batch, seen, weight_size)


def _squared(n_weights, weight_size, n_layers, emb_dim, batch, seen, cache_size):
    return n_weights * weight_size + seen * _cache(n_layers, emb_dim, batch, seen, cache_size)


def _cache_in_numbers(n_weights, weight_size, n_layers, emb_dim, batch, seen, cache_size):
    return n_weights * weight_size + _cache(n_layers, emb_dim, batch, seen, 1)


DECODING = (
    Mistake(_weights_alone, "You count the weights alone. Attention reads keys and values as well."),
    Mistake(
        _weights_each_row,
        "You read the weights once for each row. All rows of the batch go through them together: they are read once.",
    ),
    Mistake(_one_cache, "You count the cache of one row. Each row of the batch has keys and values of its own."),
    Mistake(_keys_alone, "You count one of the two: keys *and* values are read."),
    Mistake(_one_layer, "You count the cache of one layer; each layer keeps its own."),
    Mistake(_newest_alone, "The newest query looks at the keys of *all* positions seen, not only at the newest one."),
    Mistake(_one_size, "You give the cache's numbers the size of the weights'; theirs is `cache_size`."),
    Mistake(_cache_in_numbers, "You count the cache's *numbers*; each of them takes `cache_size` bytes."),
    Mistake(
        _squared,
        "You count `seen` queries. A step with a cache has one query for each row, which reads each key once.",
    ),
)

# ------------------------------------------------------------------------------------------------- quantize_rows


def _scale(weight, dim=1, levels=127):
    scale = weight.abs().amax(dim=dim, keepdim=True) / levels
    return torch.where(scale == 0, 1.0, scale)


def _one_scale(weight):
    scale = (weight.abs().max() / 127).expand(len(weight), 1)
    scale = torch.where(scale == 0, 1.0, scale)
    return (weight / scale).round().to(torch.int8), scale


def _cut_off(weight):
    return (weight / _scale(weight)).to(torch.int8), _scale(weight)


def _rounded_down(weight):
    return (weight / _scale(weight)).floor().to(torch.int8), _scale(weight)


def _to_128(weight):
    scale = _scale(weight, levels=128)
    return (weight / scale).round().to(torch.int8), scale


def _zero_divided(weight):
    scale = weight.abs().amax(dim=1, keepdim=True) / 127
    return (weight / scale).round().nan_to_num(nan=-128).to(torch.int8), scale


def _largest_not_absolute(weight):
    scale = weight.amax(dim=1, keepdim=True) / 127
    return (weight / torch.where(scale == 0, 1.0, scale)).round().clamp(-127, 127).to(torch.int8), scale


def _scale_upside_down(weight):
    return (weight / _scale(weight)).round().to(torch.int8), 1 / _scale(weight)


def _largest_as_scale(weight):
    return (weight / _scale(weight)).round().to(torch.int8), 127 * _scale(weight)


def _not_scaled(weight):
    return weight.round().to(torch.int8), _scale(weight)


def _the_order_of_the_two(weight):
    whole = (weight / _scale(weight)).round().to(torch.int8)
    return _scale(weight), whole


QUANTIZE = (
    Mistake(
        _one_scale,
        "You have one scale for the whole matrix. A row of small numbers then gets few of the 255 steps, or none; give "
        "each row its own: `dim=1, keepdim=True`.",
    ),
    Mistake(_cut_off, "`.to(torch.int8)` cuts everything behind the point off. Round first, to the nearest."),
    Mistake(_rounded_down, "You always round down, which puts everything half a step too low on average."),
    Mistake(
        _to_128,
        "You divide by 128. The largest number then becomes 128, and int8 ends at 127: 128 comes out as -128.",
    ),
    Mistake(_zero_divided, "A row of zeros has the scale 0, and 0 / 0 is no number. Give such a row another scale."),
    Mistake(_largest_not_absolute, "The largest *absolute* value sets the scale: it may be one below zero."),
    Mistake(
        _scale_upside_down, "The whole numbers are right, but the scale is upside down: `whole * scale` is the row."
    ),
    Mistake(
        _largest_as_scale,
        "The whole numbers are right, but the scale is the largest value of its row. Make it the size of *one* step; "
        "the largest value is 127 of them.",
    ),
    Mistake(_not_scaled, "You round the weights as they are; most lie between -1 and 1. Divide by the scale before."),
    Mistake(_the_order_of_the_two, "The two have changed places: first the whole numbers, then the scales."),
)

# --------------------------------------------------------------------------------------- model_flops_utilization


def _attention(n_layers, emb_dim, context_length):
    return 12 * n_layers * emb_dim * context_length


def _forward_alone(tokens_per_second, n_weights, n_layers, emb_dim, context_length, peak):
    return tokens_per_second * (2 * n_weights + _attention(n_layers, emb_dim, context_length) / 3) / peak


def _one_backward(tokens_per_second, n_weights, n_layers, emb_dim, context_length, peak):
    return tokens_per_second * (4 * n_weights + _attention(n_layers, emb_dim, context_length) * 2 / 3) / peak


def _no_attention(tokens_per_second, n_weights, n_layers, emb_dim, context_length, peak):
    return tokens_per_second * 6 * n_weights / peak


def _one_attention_layer(tokens_per_second, n_weights, n_layers, emb_dim, context_length, peak):
    return tokens_per_second * (6 * n_weights + _attention(1, emb_dim, context_length)) / peak


def _masked_half(tokens_per_second, n_weights, n_layers, emb_dim, context_length, peak):
    return tokens_per_second * (6 * n_weights + _attention(n_layers, emb_dim, context_length) / 2) / peak


def _attention_forward_alone(tokens_per_second, n_weights, n_layers, emb_dim, context_length, peak):
    return tokens_per_second * (6 * n_weights + _attention(n_layers, emb_dim, context_length) / 3) / peak


def _six_times_attention(tokens_per_second, n_weights, n_layers, emb_dim, context_length, peak):
    return tokens_per_second * 6 * (n_weights + _attention(n_layers, emb_dim, context_length)) / peak


def _per_cent(tokens_per_second, n_weights, n_layers, emb_dim, context_length, peak):
    return 100 * tokens_per_second * (6 * n_weights + _attention(n_layers, emb_dim, context_length)) / peak


def _operations(tokens_per_second, n_weights, n_layers, emb_dim, context_length, peak):
    return tokens_per_second * (6 * n_weights + _attention(n_layers, emb_dim, context_length))


def _inverse(tokens_per_second, n_weights, n_layers, emb_dim, context_length, peak):
    return peak / (tokens_per_second * (6 * n_weights + _attention(n_layers, emb_dim, context_length)))


UTILIZATION = (
    Mistake(_forward_alone, "That is the forward pass alone. The backward pass computes twice as much again."),
    Mistake(
        _one_backward,
        "You count the backward pass as large as the forward pass. It makes two gradients, that of the weights and "
        "that of what came in, and so is twice as large.",
    ),
    Mistake(_no_attention, "The attention's own products, queries with keys and weights with values, are missing."),
    Mistake(_one_attention_layer, "You count the attention of one layer; there are `n_layers` of them."),
    Mistake(_masked_half, "You leave out what the causal mask hides. By agreement the attention is counted in full."),
    Mistake(
        _attention_forward_alone,
        "You count the attention's products in the forward pass alone. Backward, they take twice as much again.",
    ),
    Mistake(
        _six_times_attention,
        "The 6 belongs to the weights alone; the 12 of the attention holds forward and backward pass already.",
    ),
    Mistake(_per_cent, "That is in per cent; a share is asked for, 1 where every operation is used."),
    Mistake(_operations, "Those are the operations a second that the model needs. Which share of the peak is it?"),
    Mistake(_inverse, "Turn the fraction over: what is used, divided by what there is."),
)

# ------------------------------------------------------------------------------------------------ total_speedup


def _mean_factor(seconds, factors):
    whole = sum(seconds.values())
    return sum(time / whole * factors.get(part, 1.0) for part, time in seconds.items())


def _product_of_factors(seconds, factors):
    return math.prod(factors.values())


def _largest_factor(seconds, factors):
    return max(factors.values(), default=1.0)


def _others_forgotten(seconds, factors):
    after = sum(seconds[part] / factor for part, factor in factors.items())
    return sum(seconds[part] for part in factors) / after


def _others_vanish(seconds, factors):
    after = sum(seconds[part] / factor for part, factor in factors.items())
    return sum(seconds.values()) / after


def _new_time(seconds, factors):
    return sum(time / factors.get(part, 1.0) for part, time in seconds.items())


def _slower(seconds, factors):
    return sum(seconds.values()) / sum(time * factors.get(part, 1.0) for part, time in seconds.items())


def _upside_down_speedup(seconds, factors):
    return _new_time(seconds, factors) / sum(seconds.values())


SPEEDUP = (
    Mistake(
        _mean_factor,
        "You take the mean of the factors, weighed by time. Times add up, factors don't: find the new time of each "
        "part, add, and divide the old time by the new one.",
    ),
    Mistake(_product_of_factors, "You multiply the factors, as if each part were the whole of the program."),
    Mistake(_largest_factor, "You return the largest factor, as if that part were the whole of the program."),
    Mistake(
        _others_forgotten, "You leave out the parts that don't get faster. They still take time, before and after."
    ),
    Mistake(
        _others_vanish, "In your new program the parts that don't get faster take no time. They take what they took."
    ),
    Mistake(_new_time, "That is the new time in seconds. How many times as fast is the whole: old time / new time."),
    Mistake(_slower, "You multiply a part's time by its factor. A part that is twice as fast takes half the time."),
    Mistake(_upside_down_speedup, "Turn the fraction over: the old time divided by the new one, at least 1."),
)
