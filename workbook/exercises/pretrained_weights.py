"""Chapter 7: a file of tensors read by hand, names and orientations, a block loaded, and what bf16 rounds away."""

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from gptlib.exercises.adapters import UnfitError
from gptlib.exercises.declaring import Choice, CodeExercise, Mistake, Prediction
from gptlib.weights.names import GPT2_NAMES, Name
from workbook.mistakes import pretrained_weights as wrong

WORDS = wrong.WORDS


def read_tensor(raw: bytes, name: str) -> Tensor:
    """The float32 tensor of that name in the bytes of a safetensors file."""
    start = 8 + int.from_bytes(raw[:8], "little")  # where the header ends
    entry = json.loads(raw[8:start])[name]
    first, last = entry["data_offsets"]
    numbers = torch.frombuffer(bytearray(raw[start + first : start + last]), dtype=torch.float32)
    return numbers.reshape(entry["shape"])


def linear_from_conv1d(weight: Tensor, bias: Tensor) -> nn.Linear:
    """weight (in, out) and bias (out,), as GPT-2's files have them -> the same layer as an nn.Linear."""
    layer = nn.Linear(*weight.shape)
    with torch.no_grad():
        layer.weight.copy_(weight.t())  # (out, in)
        layer.bias.copy_(bias)
    return layer


def translate_name(name: str) -> str:
    """Our name of a tensor that Hugging Face calls `name`, with or without "transformer." in front."""
    words = name.removeprefix("transformer.").split(".")
    return ".".join(WORDS.get(word, word) for word in words)


def head_weights(weight: Tensor, n_heads: int, head: int) -> tuple[Tensor, Tensor, Tensor]:
    """The stored c_attn weight (C, 3C) -> one head's matrices for queries, keys and values, (C, D) each."""
    C = weight.shape[0]
    D = C // n_heads
    q, k, v = (part[:, head * D : (head + 1) * D] for part in weight.split(C, dim=1))
    return q, k, v


def load_block(tensors: dict[str, Tensor], i: int) -> dict[str, Tensor]:
    """Block i of Hugging Face's tensors (names without "transformer.") as the state dict of a TransformerBlock."""
    state = {}
    for theirs in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"):
        weight, bias = tensors[f"h.{i}.{theirs}.weight"], tensors[f"h.{i}.{theirs}.bias"]
        ours = translate_name(theirs)
        state[f"{ours}.weight"] = weight if theirs.startswith("ln") else weight.t()
        state[f"{ours}.bias"] = bias
    return state


def safetensors_bytes(tensors: dict[str, Tensor], pad: int = 0) -> bytes:
    """A safetensors file of float32 tensors, its header filled up with `pad` spaces, as the format allows."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in tensors.items():
        piece = tensor.contiguous().numpy().tobytes()
        place = [len(data), len(data) + len(piece)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": place}
        data += piece
    text = json.dumps(header).encode() + b" " * pad
    return struct.pack("<Q", len(text)) + text + data


def _file_cases(rng: Random) -> list[tuple]:
    toy = {"a.bias": torch.tensor([1.0, 2.0]), "a.weight": torch.tensor([[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]])}
    other = {f"h.{i}.w": torch.randn(rng.randint(1, 4), 3, 2) for i in range(5)}
    square = {"first": torch.randn(4, 4), "second": torch.randn(1, 7), "third": torch.randn(3)}
    cases = [(toy, 0, "a.weight"), (toy, 0, "a.bias"), (other, 5, "h.3.w"), (square, 2, "first"), (square, 90, "third")]
    cases.append((other, 70_000, "h.1.w"))  # a header whose length takes three bytes
    return [(safetensors_bytes(tensors, pad), name) for tensors, pad, name in cases]


def run_layer(make: Callable[[Tensor, Tensor], nn.Module], weight: Tensor, bias: Tensor) -> Tensor:
    """What the learner's layer makes of four random vectors."""
    before = weight.clone()
    layer = make(weight, bias)
    if not torch.equal(weight, before):
        raise UnfitError("`weight` is not what it was any more: you have written into the stored tensor.")
    if not isinstance(layer, nn.Module):
        raise UnfitError("`linear_from_conv1d` has to return the layer itself, an `nn.Linear`.")
    out = layer(torch.randn(4, weight.shape[0], generator=torch.Generator().manual_seed(0)))
    if not torch.allclose(layer(torch.zeros(weight.shape[0])), bias, atol=1e-6):
        raise UnfitError("For an input of zeros the layer has to give `bias`, and yours gives something else.")
    return out


run_layer.names = ["weight", "bias"]


def _layer_cases(rng: Random) -> list[tuple]:
    toy = (torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), torch.tensor([10.0, 20.0, 30.0]))
    shapes = [(4, 4), (6, 2), (1, 5), (rng.randint(2, 7), rng.randint(8, 12))]
    return [toy, *((torch.randn(shape), torch.randn(shape[1])) for shape in shapes)]


def _name_cases(rng: Random) -> list[tuple]:
    names = ["h.0.attn.c_attn.weight", "wte.weight", "transformer.wpe.weight", "transformer.ln_f.bias", "ln_f.weight"]
    names += ["lm_head.weight", "h.11.ln_1.weight", "transformer.h.10.mlp.c_proj.bias", "transformer.h.3.ln_2.bias"]
    blocks = [name.numbered(rng.randint(4, 47)).huggingface for name in GPT2_NAMES.block]
    names += [f"transformer.{name}" if i % 3 else name for i, name in enumerate(blocks)]
    return [(name,) for name in names]


def run_heads(cut: Callable[..., Any], weight: Tensor, n_heads: int, head: int) -> Any:
    """The three matrices; stacked in one tensor they are as good as a tuple."""
    result = cut(weight, n_heads, head)
    return tuple(result) if isinstance(result, Tensor) and result.ndim == 3 else result


def _head_cases(rng: Random) -> list[tuple]:
    toy = torch.arange(12 * 4.0).reshape(4, 12)  # C = 4
    random = [(torch.randn(C, 3 * C), H, rng.randrange(H)) for C, H in [(6, 3), (8, 2), (8, 4), (5, 1), (12, 3)]]
    return [(toy, 2, 1), (toy, 2, 0), (torch.randn(12, 36), 6, 5), *random]


def _tensors(n_blocks: int, width: int) -> dict[str, Tensor]:
    """Random tensors under Hugging Face's names, with the old masks among them."""
    wide = {"attn.c_attn": (1, 3), "attn.c_proj": (1, 1), "mlp.c_fc": (1, 4), "mlp.c_proj": (4, 1)}
    tensors = {"wte.weight": torch.randn(9, width), "wpe.weight": torch.randn(6, width)}
    for i in range(n_blocks):
        tensors[f"h.{i}.attn.bias"] = torch.ones(1, 1, 6, 6).tril()
        for name in GPT2_NAMES.block:
            theirs = name.numbered(i).huggingface
            n_in, n_out = wide.get(name.huggingface.removeprefix("h.{i}.").rpartition(".")[0], (1, 1))
            shape = (n_in * width, n_out * width) if name.is_conv1d else (n_out * width,)
            tensors[theirs] = torch.randn(shape)
    return tensors | {"ln_f.weight": torch.randn(width), "ln_f.bias": torch.randn(width)}


def _block_cases(rng: Random) -> list[tuple]:
    many = _tensors(12, 2)
    return [(_tensors(2, 2), 0), (_tensors(2, 4), 1), (many, 1), (many, 11), (many, rng.randint(2, 9))]


EXERCISES = (
    CodeExercise(
        name="read_tensor",
        title="A tensor from a file's bytes",
        minutes=10,
        difficulty=2,
        task="""
            Read one tensor from the bytes of a safetensors file. All tensors here are float32 ("F32").
            `torch.frombuffer(bytearray(piece), dtype=torch.float32)` makes a row of numbers of some bytes.
        """,
        stub='''
            def read_tensor(raw, name):
                """raw: all bytes of the file -> the tensor of that name, in its shape.

                Example: for a file with "a.bias" = [1., 2.] and "a.weight" = [[3., 4., 5.], [6., 7., 8.]],
                the name "a.weight" -> [[3., 4., 5.], [6., 7., 8.]]
                """
                ...
        ''',
        reference=read_tensor,
        cases=_file_cases,
        mistakes=(
            Mistake(
                wrong.read_from_start, "`data_offsets` are counted from the end of the header, not of the file's start."
            ),
            Mistake(
                wrong.read_without_eight, "You start too early: what stands in the file before the header's first byte?"
            ),
            Mistake(wrong.read_flat, "The numbers are right; they still need the shape that the header gives."),
            Mistake(
                wrong.read_end_as_count, "The second of `data_offsets` is where the tensor ends, not how long it is."
            ),
            Mistake(wrong.read_to_the_end, "You read on to the end of the file, where other tensors stand too."),
            Mistake(
                wrong.read_big_endian,
                "`json.loads` gets the tensors too. Does the header end where its length says, and is the length read "
                'with "little"?',
            ),
            Mistake(
                wrong.read_entry_only, "That is the header's entry; it says where the numbers are. Now fetch them."
            ),
            Mistake(wrong.read_as_whole_numbers, "Those are the single bytes; four of them together are one number."),
            Mistake(
                wrong.read_without_header,
                "You skip the eight bytes of the length, and read the header as if it were the numbers.",
            ),
            Mistake(
                wrong.read_header_cut_short,
                "The last bytes of the header are missing. It has as many as its length says, and does not begin at "
                "byte 0; so where does it end?",
            ),
            Mistake(
                wrong.read_header_with_length,
                "The text that `json.loads` gets has bytes in front that are no text: what are the first eight?",
            ),
            Mistake(
                wrong.read_two_bytes_of_length,
                "You take the length from two bytes. A header may be longer than 65,535 bytes; use all eight.",
            ),
            Mistake(
                wrong.read_other_header,
                "The header that you look into does not have this name. Read the one in `raw`, and not the `header` of "
                "the cell above, which is another file's.",
            ),
            Mistake(wrong.read_offsets_of_numbers, "`data_offsets` count bytes, and you count numbers with them."),
        ),
        hints=(
            'Three steps: the length (`int.from_bytes(raw[:8], "little")`), the header (`json.loads`), the bytes.',
            "The tensors begin at `start = 8 + length`; the tensor's own bytes are from `start + first` on.",
            '`first, last = header[name]["data_offsets"]`, the piece is `raw[start + first : start + last]`; at the '
            'end `.reshape(header[name]["shape"])`.',
        ),
        why="""
            Everything needed to find a tensor stands in the first few kilobytes. So a program can read one tensor of a
            file of many gigabytes, or map the file into memory and let the system fetch what is touched.
        """,
    ),
    Prediction(
        name="mask_bytes",
        title="Fifty million bytes too many",
        minutes=4,
        difficulty=2,
        task="""
            The official file of 124M on the Hugging Face Hub is about 50 MB larger than its parameters. Old versions of
            the library stored each block's causal mask with the weights, as `h.0.attn.bias`: ones and zeros of shape
            (1, 1, 1024, 1024) in float32. The model has 12 blocks with 12 heads each. How many bytes do the masks take?
        """,
        form="a whole number of bytes, like 4 * 10 * 10",
        answer=12 * 1024 * 1024 * 4,
        diagnoses={
            1024 * 1024 * 4: "That is one mask; each of the 12 blocks has its own.",
            12 * 1024 * 1024: "That is how many numbers there are; how many bytes does a float32 take?",
            12 * 12 * 1024 * 1024 * 4: "The shape begins with (1, 1): all heads of a block share one mask.",
            12 * 1024 * 1024 * 2: "float32 takes four bytes for a number, bf16 two.",
            50_000_000: "That is the rounded number of the task; work out the exact one from the shape.",
            50: "That is the rounded number of the task, in MB; work out the exact one, in bytes.",
            1024 * 1024: "That is how many numbers one mask has. How many masks are there, and how many bytes in each?",
            12 * 12 * 1024 * 1024: "A float32 takes more than one byte; and do the heads have masks of their own?",
            12 * 1024 * 4: "A mask is square: 1024 rows of 1024 numbers.",
            12 * 1024 * 1024 * 32: "Those are bits; a byte has eight of them.",
            12 * 1024 * 1025 // 2 * 4: "Those are the ones alone; the zeros above the diagonal are stored too.",
            12 * 1024 * 1024 // 8: "One bit would be enough for a yes or no, but these are stored as float32.",
        },
        hints=("Count numbers first: 1024 · 1024 in a mask.", "Then times 12 blocks, and 4 bytes for each number."),
        why="""
            50,331,648 bytes of a file of 548,105,171: a tenth of the download is a triangle that two lines of code can
            make. A loader has to know that these tensors, called "bias", are no parameters, and skip them.
        """,
    ),
    CodeExercise(
        name="translate_name",
        title="From their names to ours",
        minutes=8,
        difficulty=2,
        task="""
            Translate a name of Hugging Face's into ours, with the table `WORDS` from above. The name may begin with
            `transformer.` or not; ours never does.
        """,
        stub='''
            def translate_name(name):
                """Example: "h.0.attn.c_attn.weight" -> "blocks.0.attention.c_attn.weight" """
                ...
        ''',
        reference=translate_name,
        cases=_name_cases,
        mistakes=(
            Mistake(
                wrong.name_replaced_everywhere,
                "`replace` also changes letters inside of other words: there is an `h` in `weight`.",
            ),
            Mistake(
                wrong.name_with_c_attention,
                "`c_attn` is one word, and stays as it is; you have replaced the `attn` that it ends with.",
            ),
            Mistake(wrong.name_with_prefix, "`transformer.` is still in front; our names don't have it."),
            Mistake(
                wrong.name_always_cut, "You always cut off as many letters as `transformer.` has, also without it."
            ),
            Mistake(
                wrong.name_second_word_always, "You always drop the first word, and it is not always `transformer`."
            ),
            Mistake(wrong.name_first_word_only, "Behind the block's number there are more words to translate."),
            Mistake(
                wrong.name_known_words_only, "Words that are not in the table, as `weight` and the number, stay as is."
            ),
            Mistake(wrong.name_as_list, "The words are right; they have to become one text again, with dots."),
            Mistake(
                wrong.name_untranslated,
                "No word is translated. In a loop, `word = ...` gives that name to another text; the list stays as it "
                "is.",
            ),
            Mistake(wrong.name_looked_up_whole, "You look the whole name up; `WORDS` has single words."),
            Mistake(wrong.name_with_last_dot, "There is a dot too many at the end; dots stand *between* words."),
            Mistake(wrong.name_without_unknown, "You drop the words that are not in the table; they stay as they are."),
            Mistake(
                wrong.name_of_nones,
                "`WORDS.get(word)` is `None` where the table does not have the word; what should it be instead?",
            ),
            Mistake(
                wrong.name_stripped,
                "`strip` takes off single letters at both ends, as long as they are among those given: here a `t` of "
                "`weight` too. You need something that takes off a whole word in front.",
            ),
            Mistake(
                wrong.name_own_words_replaced,
                "`replace` changes the letters wherever they stand, also inside of another word of the name: see what "
                "became of `weight` or `c_attn`.",
            ),
            Mistake(
                wrong.name_in_fixed_places,
                "The words to translate are not always in the same places: `wte.weight` has only two.",
            ),
        ),
        hints=(
            'A name is words with dots between them: `name.split(".")`, and `".".join(words)` back.',
            '`name.removeprefix("transformer.")` cuts that off where it is there, and does nothing else.',
            "`WORDS.get(word, word)` is the translation, or the word itself where there is none.",
        ),
        why="""
            Whole words, not pieces of text: that is all. A loader of weights fails on names more often than on
            numbers, and loudly if it is well made: a name that it can't place is an error, and not skipped.
        """,
    ),
    CodeExercise(
        name="linear_from_conv1d",
        title="A Conv1D as a linear layer",
        minutes=6,
        task="""
            Make an `nn.Linear` that computes what GPT-2's stored layer does. Inside `with torch.no_grad():` you may
            write into a parameter with `copy_`.
        """,
        stub='''
            def linear_from_conv1d(weight, bias):
                """weight (in, out) as stored, bias (out,) -> an nn.Linear that computes x @ weight + bias.

                Example: weight [[1., 2., 3.], [4., 5., 6.]], bias [10., 20., 30.] -> a layer from 2 to 3
                """
                ...
        ''',
        reference=linear_from_conv1d,
        shows=(linear_from_conv1d, Name.transposed),
        run=run_layer,
        cases=_layer_cases,
        mistakes=(
            Mistake(
                wrong.linear_assigned_as_stored,
                "The weight stands in the layer as it was stored, (in, out); which shape does `nn.Linear` keep?",
            ),
            Mistake(
                wrong.linear_copied_as_stored,
                "You copy the weight as it was stored; where it is not square, it does not even fit.",
            ),
            Mistake(
                wrong.linear_reshaped,
                "The shape is right, and the numbers are in the wrong places: `reshape` keeps their order, and turning "
                "rows into columns does not.",
            ),
            Mistake(
                wrong.linear_made_the_other_way,
                "The two sizes of your `nn.Linear` have changed places; it is called with (in, out).",
            ),
            Mistake(
                wrong.linear_while_recording,
                "PyTorch records for gradients, and refuses to have a parameter overwritten meanwhile; where does "
                "`torch.no_grad()` belong?",
            ),
            Mistake(
                wrong.linear_of_tensors,
                "A parameter can only be replaced by an `nn.Parameter`; or copy the numbers into the one there is.",
            ),
            Mistake(
                wrong.linear_turned_instead,
                "You have turned the layer round, and not the weight: yours goes from outputs to inputs.",
            ),
            Mistake(
                wrong.linear_without_bias,
                "For an input of zeros the layer has to give its bias, and yours gives something else; is it copied?",
            ),
            Mistake(
                wrong.linear_copied_back,
                "`a.copy_(b)` writes the numbers of `b` into `a`, and you have overwritten the stored tensors with the "
                "random ones of the new layer.",
            ),
            Mistake(
                wrong.linear_of_uncalled_t, "`weight.t` is a method and has to be called: what is missing is `()`."
            ),
            Mistake(wrong.linear_of_a_shape, "`nn.Linear` takes two numbers, and you give it one shape."),
            Mistake(
                wrong.linear_from_two_to_three,
                "Your layer is always one from 2 to 3, as in the example; take the sizes from `weight.shape`.",
            ),
        ),
        hints=(
            "`weight.shape` is (in, out), and `nn.Linear(in, out)` is called with the same two, in this order.",
            "Its own `weight` has the shape (out, in): rows and columns change places with `weight.t()`.",
            "`layer.weight.copy_(weight.t())` and `layer.bias.copy_(bias)`, both inside `with torch.no_grad():`.",
        ),
        why="The library keeps, for each name, whether it is transposed; biases and norms have one dimension only.",
    ),
    CodeExercise(
        name="head_weights",
        title="The matrices of one head",
        minutes=8,
        difficulty=2,
        task="""
            From the stored weight of `c_attn`, cut out the three matrices of one head, so that `x @ q` gives that
            head's queries, and so for keys and values.
        """,
        stub='''
            def head_weights(weight, n_heads, head):
                """weight (C, 3C) as stored, heads numbered from 0 -> q, k, v, each (C, D).

                Example: rows like [0, 1, 2, ..., 11] (C = 4), n_heads=2, head=1
                -> q has rows like [2, 3], k like [6, 7], v like [10, 11]
                """
                ...
        ''',
        reference=head_weights,
        run=run_heads,
        cases=_head_cases,
        mistakes=(
            Mistake(
                wrong.heads_first,
                "You expect head by head, each with its q, k and v; GPT-2 has all queries, all keys, all values.",
            ),
            Mistake(wrong.heads_innermost, "q, k and v don't take turns column by column: each has C in a row."),
            Mistake(
                wrong.heads_dealt_out, "The columns of a head stand side by side; you take every `n_heads`-th one."
            ),
            Mistake(
                wrong.heads_by_rows, "Heads are cut from the columns, which are the outputs; the rows are the inputs."
            ),
            Mistake(
                wrong.heads_split_by_rows,
                "There are only C rows, so that this makes one piece; which dimension has 3C? `split` takes `dim`.",
            ),
            Mistake(wrong.heads_transposed, "Yours are (D, C); `x @ q` needs (C, D), as it is stored."),
            Mistake(wrong.heads_not_cut, "Those are the matrices of all heads together; one head has D columns."),
            Mistake(wrong.heads_from_one, "You count heads from 1; the first has the number 0."),
            Mistake(
                wrong.heads_of_width_n_heads, "A head is `D = C // n_heads` columns wide, and yours is `n_heads` wide."
            ),
            Mistake(
                wrong.heads_of_the_figure,
                "C and D are those of the figure, 4 and 2, whatever you are given; take them from `weight` and "
                "`n_heads`.",
            ),
            Mistake(wrong.heads_two_wide, "Your heads are 2 columns wide, as in the figure; how wide are these?"),
            Mistake(
                wrong.heads_three_times_as_wide,
                "`D` is three times too large: C is the number of rows, and the columns are 3C.",
            ),
            Mistake(
                wrong.heads_split_by_three,
                "`split(3, dim=1)` makes pieces of 3 columns each; you need 3 pieces, and how wide is one?",
            ),
            Mistake(
                wrong.heads_chunked_by_rows, "`chunk` cuts the rows unless you say which dimension; which one has 3C?"
            ),
            Mistake(
                wrong.heads_reshaped,
                "`reshape` and `view` go through the matrix row by row, and put pieces of several parts into one; in "
                "each row the three parts stand side by side.",
            ),
            Mistake(
                wrong.heads_from_their_number,
                "You begin at column `head`. Each head before it takes up D columns; so where does this one begin?",
            ),
            Mistake(
                wrong.heads_to_their_width, "A slice goes from a place to a place; behind your colon is the width `D`."
            ),
            Mistake(
                wrong.heads_of_a_float, "`/` makes a float, as 2.0, and a slice needs whole numbers: divide with `//`."
            ),
        ),
        hints=(
            "First into three parts of C columns, then from each part the head's D columns.",
            "`weight.split(C, dim=1)` gives the three parts; `D = C // n_heads`.",
            "From a part: `part[:, head * D : (head + 1) * D]`.",
        ),
        why="""
            Any other order would do as well, if everybody kept to it. Other models have others (head by head in
            GPT-NeoX), all in the same shape. So no shape can tell you; compare outputs with a model that is known.
        """,
    ),
    CodeExercise(
        name="load_block",
        title="Load a whole block",
        minutes=15,
        difficulty=3,
        task="""
            Make, of Hugging Face's tensors, the state dict of one `TransformerBlock`: all twelve tensors of block
            `i`, under the names that our block has for them, in the orientation that it needs. There are other tensors
            in the dict, and masks (`h.0.attn.bias`); leave them out.
        """,
        stub='''
            def load_block(tensors, i):
                """tensors: {"h.0.ln_1.weight": ..., ...} as stored -> {"norm_1.weight": ..., ...} of block i.

                Example: "h.0.ln_1.bias" is, for i = 0, "norm_1.bias" in the result
                """
                ...
        ''',
        reference=load_block,
        cases=_block_cases,
        mistakes=(
            Mistake(wrong.block_as_stored, "Nothing is transposed; which of the weights are Conv1D's?"),
            Mistake(
                wrong.block_square_forgotten,
                "`attention.c_proj.weight` is as it was stored. It is square, so that its shape can't tell you.",
            ),
            Mistake(wrong.block_attention_only, "The weights of the feed-forward layer are Conv1D's as well."),
            Mistake(wrong.block_c_attn_only, "Only `c_attn` is transposed; a block has four Conv1D's."),
            Mistake(wrong.block_feed_forward_only, "The weights of attention are Conv1D's as well."),
            Mistake(
                wrong.block_reshaped, "Shapes are right, numbers are not: `reshape` does not turn rows into columns."
            ),
            Mistake(wrong.block_zero, "You take block 0, whatever `i` is."),
            Mistake(wrong.block_norms_swapped, "The two LayerNorms have changed places."),
            Mistake(
                wrong.block_with_mask, "`attn.bias` is the causal mask and no parameter: our block has no place for it."
            ),
            Mistake(
                wrong.block_without_c_attn_bias,
                "`attention.c_attn.bias` is missing: with the masks you leave out every name that ends in `attn.bias`.",
            ),
            Mistake(
                wrong.block_with_full_names,
                "The names are those of the whole model; a block's own begin behind `blocks.0.`, with `norm_1`.",
            ),
            Mistake(wrong.block_under_their_names, "The tensors are right; their names are still Hugging Face's."),
            Mistake(
                wrong.block_without_dot,
                'A name that starts with "h.1" may be one of block 10 or 11 too; what comes behind the number?',
            ),
            Mistake(wrong.block_without_biases, "The biases are missing: six of the twelve tensors."),
            Mistake(
                wrong.block_empty,
                "Your dict is empty: no name began as you asked. They have no `transformer.` in front here, and the "
                "number in a name is text.",
            ),
            Mistake(
                wrong.block_of_longer_names,
                "The names in this dict have no `transformer.` in front: they begin with `h.`",
            ),
            Mistake(
                wrong.block_with_everything,
                "There are tensors in your result that are not block `i`'s: other blocks', tables, the final norm.",
            ),
            Mistake(
                wrong.block_and_tenth,
                "For block 1 you also take what belongs to blocks 10 and 11: their names begin with `h.1` as well.",
            ),
            Mistake(wrong.block_behind_a_dot, "Your names begin with a dot; a little more has to be cut off in front."),
            Mistake(
                wrong.block_under_their_full_names,
                "The right tensors are there, under the file's names: `h.0.ln_1.weight` has to be `norm_1.weight`.",
            ),
            Mistake(
                wrong.block_mask_turned,
                "One of the tensors has 4 dimensions and can't be transposed: the mask, which is to be left out.",
            ),
        ),
        hints=(
            "Six layers with a weight and a bias each: two LayerNorms and four Conv1D's. Only the four are transposed.",
            'Go through "ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj", and fetch '
            '`tensors[f"h.{i}.{layer}.weight"]`, and the bias.',
            "The names become ours with `translate_name`, or from a table of six lines; a weight is transposed with "
            '`.t()` unless the layer\'s name starts with "ln".',
        ),
        why="""
            This is the whole of loading: a table of names, and a note of which ones are transposed. The library's has
            the same twelve lines for a block, is used by both loaders and the exporter, and checks every name and
            shape first.
        """,
    ),
    Choice(
        name="square_trap",
        title="One matrix forgotten",
        minutes=2,
        task="""
            A loader turns all Conv1D weights but `attn.c_proj`, of shape (C, C), which it copies as it is stored. What
            will happen?
        """,
        choices={
            "a": (
                "`load_state_dict` raises an error, since shapes differ.",
                "They don't: (C, C) transposed is (C, C). Only the other three would be noticed.",
            ),
            "b": (
                "Nothing changes, since a square matrix is its own transpose.",
                "Only a symmetric one is, where the numbers mirror each other; a learned one is not.",
            ),
            "c": (
                "The model loads and runs, and its predictions are worse.",
                "No shape is wrong, so nobody complains. What every head found out is mixed by the wrong numbers, and "
                "only a look at the loss, or at the logits of a model that is known to be right, can show it.",
            ),
            "d": (
                "The logits become NaN.",
                "Every number is finite and of the usual size; they are only in the wrong places.",
            ),
        },
        answer="c",
        hints=(
            "What is the shape of a (C, C) matrix after `.t()`?",
            "Do its numbers stand in the same places afterwards?",
        ),
    ),
    Choice(
        name="missing_head",
        title="Where is the head?",
        minutes=2,
        task="""
            Neither OpenAI's checkpoint nor the file on the Hub has a tensor for the output head. What has a loader to
            do about it?
        """,
        choices={
            "a": (
                "Leave the head as it was initialised.",
                "Then its scores would be random, and so would every token be that the model writes.",
            ),
            "b": (
                "Train the head on some text.",
                "That is not needed: the numbers are there, under another name.",
            ),
            "c": (
                "Copy the token embedding into the head.",
                "The logits would be right. But they would be two parameters: twice the memory, and with the first "
                "training step they would part.",
            ),
            "d": (
                "Make the head's weight the same parameter as the token embedding.",
                "GPT-2's head is tied (chapter 4). One tensor in the file, one parameter in the model, two names.",
            ),
        },
        answer="d",
        hints=(
            "Think of weight tying in chapter 4: what has the same shape, (V, C)?",
            "A copy and the same object give the same logits today. And after a training step?",
        ),
    ),
    Prediction(
        name="rounded_weight",
        title="A weight in bf16",
        minutes=3,
        task="""
            A weight is 1.012. What is it after it was rounded to bf16? Give the number with four decimals or more,
            worked out with the steps above, and not by PyTorch.
        """,
        form="a number, like 1.25 or 1 + 1 / 4",
        answer=1 + 2 / 128,
        tolerance=3e-5,
        diagnoses={
            1 + 1 / 128: "That is the step below; rounding goes to the nearest, and 1.012 is past the middle.",
            1 + 3 / 256: "That would be a step of 1/256; between 1 and 2 the steps of bf16 are of 1/128.",
            1.012: "bf16 has no such number; between 1 and 2 it has 1, 1 + 1/128, 1 + 2/128, and so on.",
            1.0: "It is not as coarse as that: between 1 and 2 there are 127 other numbers.",
            1.016: "That is not exact enough to tell; give four decimals or more.",
            1.008: "That is not exact enough, and it is the step below: 1.012 is past the middle.",
            1 + 3 / 128: "That is the step after next; which of the two around 1.012 is nearer?",
            2 / 128: "That is what has to be added to 1; the weight is the sum.",
            2: "That may be how many steps; what number is that many steps above 1?",
            1.54: "That is how many steps 0.012 would be; bf16 has only whole ones. Which number is it, then?",
            1.01: "Steps are of 1/128, and not of a hundredth.",
        },
        hints=("How many steps of 1/128 is 0.012? Multiply.", "0.012 · 128 is about 1.54; the nearest whole is 2."),
        why="""
            1 + 2/128 is 1.015625: an error of 0.36 per cent, close to the largest that there is. Half a step is 1/256
            of the number 1, so that no weight is ever off by more than 0.4 per cent of itself.
        """,
    ),
)
