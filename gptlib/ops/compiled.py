"""Decoding on a CPU by kernels that Numba compiles from this Python (Lam et al. 2015).

A new token uses each weight once, and so waits for memory. Loops as plain as these read the weights as fast
as memory gives them, in any type that a register can widen, and in the order in which they are stored. The
rest of a block happens in between, in the same call, and costs next to nothing. More rows have arithmetic to
wait for, and are left to PyTorch's kernels.

Numba brings its own compiler (LLVM), and keeps on disk what it has made: only the first use takes seconds.

Letters in the shape comments: B rows, K inputs, N outputs, C channels of the model, H heads, D channels of a
head, S positions. Stored numbers are float32, uint16 with the bits of a bfloat16, or int8 with a scale;
everything is computed in float32.
"""

import importlib
from typing import NamedTuple

import numpy as np
from numba import njit, prange, types
from numba.extending import overload

F32, I32, U16, U32 = np.float32, np.int32, np.uint16, np.uint32

# Sums may be reordered, to compute many terms at a time; nan and inf stay what they are.
_SUMS = {"reassoc", "contract", "nsz", "arcp"}
_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy"}
# Only loops that say prange are shared among threads; looking for others takes the compiler longer than all else.
_NOT_SHARED = ("comprehension", "fusion", "inplace_binop", "numpy", "reduction", "setitem", "stencil")
_function = njit(fastmath=_SUMS, **_OPTIONS)
_exact = njit(fastmath={"contract"}, **_OPTIONS)
_parallel = njit(fastmath=_SUMS, parallel={"prange": True} | dict.fromkeys(_NOT_SHARED, False), **_OPTIONS)


def has_threads() -> bool:
    """Whether Numba has a pool of threads here that several callers may use at once, which its own plain one is not."""
    for pool in ("tbbpool", "omppool"):
        try:
            importlib.import_module(f"numba.np.ufunc.{pool}")
        except ImportError:
            continue
        return True
    return False


class Matrix(NamedTuple):
    """A linear layer, y = scale * (W x) + bias + up (down x), as its kernel takes it."""

    weight: np.ndarray
    """W (N, K), or its transpose (K, N)."""
    transposed: bool
    scale: np.ndarray
    """(N,): of an int8 weight; otherwise ones."""
    bias: np.ndarray
    """(N,)"""
    down: np.ndarray
    """(rank, K): the first matrix of a LoRA adapter; without one, rank is 0."""
    up: np.ndarray
    """(N, rank): its second, scaled."""


def _widen(number):
    """A stored number as a float32."""


@overload(_widen, inline="always")
def _(number):
    if number == types.uint16:
        return lambda number: I32(I32(number) << I32(16)).view(F32)
    return lambda number: F32(number)


def _narrow(number, array):
    """A float32 as the array stores it, rounded to the nearest, ties to even."""


@overload(_narrow, inline="always")
def _(number, array):
    if array.dtype != types.uint16:
        return lambda number, array: number

    def to_bf16(number, array):
        bits = F32(number).view(U32)
        return U16(U32(bits + U32(0x7FFF) + U32(U32(bits >> U32(16)) & U32(1))) >> U32(16))

    return to_bf16


@_exact
def _exp(x):
    """e^x in float32 to a few units in the last place, from -87 to 88; beyond them, the value there.

    x = n ln 2 + r with |r| < 0.35; e^r by a polynomial and 2^n by its exponent bits (Cephes, Moshier 1992).
    The C library's would be called for one number at a time.
    """
    x = min(max(x, F32(-87)), F32(88))
    n = I32(x * F32(1.44269504) + F32(127.5)) - I32(127)
    r = x - F32(n) * F32(0.693359375)
    r = r - F32(n) * F32(-2.12194440e-4)
    p = F32(1.9875691500e-4)
    p = p * r + F32(1.3981999507e-3)
    p = p * r + F32(8.3334519073e-3)
    p = p * r + F32(4.1665795894e-2)
    p = p * r + F32(1.6666665459e-1)
    p = p * r + F32(5.0000001201e-1)
    return (p * r * r + r + F32(1)) * I32((n + I32(127)) << I32(23)).view(F32)


@_function
def _dot(w, x):
    """The sum of w (K,), as stored, times x (K,)."""
    total = F32(0)
    for k in range(len(x)):
        total += _widen(w[k]) * x[k]
    return total


@_function
def _add_rows(out, factors, rows, start):
    """Add the sum over k of factors (K,) [k] * rows (K, …) [k] to out (N,), from column `start` on."""
    K, end = len(factors), start + len(out)
    for k in range(0, K - 3, 4):  # four at a time: out is read and written a quarter as often
        f, g, h, i = factors[k], factors[k + 1], factors[k + 2], factors[k + 3]
        row_f, row_g = rows[k, start:end], rows[k + 1, start:end]
        row_h, row_i = rows[k + 2, start:end], rows[k + 3, start:end]
        for n in range(len(out)):
            out[n] += f * _widen(row_f[n]) + g * _widen(row_g[n]) + h * _widen(row_h[n]) + i * _widen(row_i[n])
    for k in range(K // 4 * 4, K):
        row = rows[k, start:end]
        for n in range(len(out)):
            out[n] += factors[k] * _widen(row[n])


@_function
def gelu(x):
    """GPT-2's GELU of each number of x (B, N), in place: 0.5 (1 + tanh z) is 1 / (1 + e^(-2z))."""
    for b in range(len(x)):
        row = x[b]
        for n in range(len(row)):
            u = row[n]
            z = F32(0.7978845608) * (u + F32(0.044715) * u * u * u)
            row[n] = u / (F32(1) + _exp(F32(-2) * z))


@_function
def add(x, y):
    """Add y (B, C) to x (B, C), in place."""
    for b in range(len(x)):
        to, what = x[b], y[b]
        for c in range(len(to)):
            to[c] += what[c]


@_function
def _outputs(x, matrix, start, end, out):
    """A layer's outputs from start to end for x (B, K), into the same place of out (B, N)."""
    if matrix.transposed:
        for b in range(len(x)):
            row = out[b, start:end]
            row[:] = F32(0)
            _add_rows(row, x[b], matrix.weight, start)
    else:
        for n in range(start, end):
            for b in range(len(x)):
                out[b, n] = _dot(matrix.weight[n], x[b])
    thin = np.empty(len(matrix.down), F32)
    for b in range(len(x)):
        row, scale, bias = out[b, start:end], matrix.scale[start:end], matrix.bias[start:end]
        for n in range(len(row)):
            row[n] = row[n] * scale[n] + bias[n]
        if len(thin):
            for r in range(len(thin)):
                thin[r] = _dot(matrix.down[r], x[b])
            for n in range(len(row)):
                row[n] += _dot(matrix.up[start + n], thin)


@_parallel
def multiply(x, matrix, out, threads):
    """The layer's result for x (B, K) -> out (B, N)."""
    N = out.shape[1]
    for t in prange(threads):
        _outputs(x, matrix, t * N // threads, (t + 1) * N // threads, out)


@_function
def _add(x, y):
    """Add y (B, C) to x (B, C), in place."""
    for b in range(len(x)):
        to, what = x[b], y[b]
        for c in range(len(to)):
            to[c] += what[c]


@_function
def _gelu(x):
    """GPT-2's GELU of each number of x (B, N), in place: 0.5 (1 + tanh z) is 1 / (1 + e^(-2z))."""
    for b in range(len(x)):
        row = x[b]
        for n in range(len(row)):
            u = row[n]
            z = F32(0.7978845608) * (u + F32(0.044715) * u * u * u)
            row[n] = u / (F32(1) + _exp(F32(-2) * z))


@_function
def normalize(x, weight, bias, eps, out):
    """LayerNorm of each row of x (B, C) into out (B, C)."""
    C = x.shape[1]
    for b in range(len(x)):
        row, result = x[b], out[b]
        mean = F32(0)
        for c in range(C):
            mean += row[c]
        mean /= F32(C)
        variance = F32(0)
        for c in range(C):
            variance += (row[c] - mean) * (row[c] - mean)
        factor = F32(1) / np.sqrt(variance / F32(C) + eps)
        for c in range(C):
            result[c] = (row[c] - mean) * factor * weight[c] + bias[c]


@_function
def _store(row, keys, values, h, position):
    """Put one head's key and value of row (3C,) into the cache of a layer, (H, S, D) each, at this position."""
    H, _, D = keys.shape
    key, value = row[(H + h) * D : (H + h) * D + D], row[(2 * H + h) * D : (2 * H + h) * D + D]
    for d in range(D):
        keys[h, position, d] = _narrow(key[d], keys)
        values[h, position, d] = _narrow(value[d], values)


@_function
def _attend(query, keys, values, out):
    """One head's attention: query (D,), keys and values (S, D) -> out (D,)."""
    weights = np.empty(len(keys), F32)
    factor = F32(1) / np.sqrt(F32(len(query)))
    top = F32(-np.inf)
    for s in range(len(keys)):
        weights[s] = _dot(keys[s], query) * factor
        top = max(top, weights[s])
    total = F32(0)
    for s in range(len(keys)):
        weights[s] = _exp(weights[s] - top)
        total += weights[s]
    out[:] = F32(0)
    _add_rows(out, weights, values, 0)
    for d in range(len(out)):
        out[d] /= total


@_parallel
def _attention(x, c_attn, keys, values, first, length, out, threads):
    """Each thread takes some heads: their queries, keys and values for x (B, C), and their attention -> out (B, C)."""
    H, _, D = keys.shape[1:]
    B, C = x.shape
    qkv = np.empty((B, 3 * C), F32)
    for t in prange(threads):
        begin, end = t * H // threads, (t + 1) * H // threads
        for part in range(0, 3 * C, C):
            _outputs(x, c_attn, part + begin * D, part + end * D, qkv)
        for b in range(B):
            for h in range(begin, end):
                _store(qkv[b], keys[b], values[b], h, length)
                seen, here = slice(first[b], length + 1), slice(h * D, h * D + D)
                _attend(qkv[b, here], keys[b, h, seen], values[b, h, seen], out[b, here])


@_function
def gpt2_block(
    x, norm_1, c_attn, attention_proj, norm_2, c_fc, feed_forward_proj, eps, keys, values, first, length, threads
):
    """A block of GPT-2 for one new position of each row, x (B, C) in place; keys and values join the layer's cache.

    norm_1, norm_2: (weight, bias). keys, values (B, H, S, D): the layer's, of which `length` positions are filled;
    first (B,): how many of them at the left of each row are padding.
    """
    hidden, out = np.empty_like(x), np.empty_like(x)
    inner = np.empty((len(x), len(c_fc.bias)), F32)
    normalize(x, norm_1[0], norm_1[1], eps, hidden)
    _attention(hidden, c_attn, keys, values, first, length, out, threads)
    multiply(out, attention_proj, hidden, threads)
    _add(x, hidden)
    normalize(x, norm_2[0], norm_2[1], eps, hidden)
    multiply(hidden, c_fc, inner, threads)
    _gelu(inner)
    multiply(inner, feed_forward_proj, out, threads)
    _add(x, out)
