"""Chapter 8: the wrong implementations that `finetuning.py` recognises."""

import torch

from gptlib.exercises.declaring import Mistake

# -------------------------------------------------------------------------------------------------- fill_template


def _asked(instruction, given):
    return f"{instruction} {given}" if given else instruction


def _space_in_prompt(instruction, given, output):
    return f"User: {_asked(instruction, given)}\nAssistant: ", output


def _no_space(instruction, given, output):
    return f"User: {_asked(instruction, given)}\nAssistant:", output


def _two_spaces(instruction, given, output):
    return f"User: {_asked(instruction, given)}\nAssistant: ", f" {output}"


def _space_without_input(instruction, given, output):
    return f"User: {instruction} {given}\nAssistant:", f" {output}"


def _input_forgotten(instruction, given, output):
    return f"User: {instruction}\nAssistant:", f" {output}"


def _input_on_its_line(instruction, given, output):
    asked = f"{instruction}\n{given}" if given else instruction
    return f"User: {asked}\nAssistant:", f" {output}"


def _stripped(instruction, given, output):
    return f"User: {instruction.strip()} {given.strip()}".strip() + "\nAssistant:", f" {output.strip()}"


def _ends_stripped(instruction, given, output):
    return f"User: {instruction} {given}".strip() + "\nAssistant:", f" {output}"


def _line_after(instruction, given, output):
    return f"User: {_asked(instruction, given)}\nAssistant:\n", output


TEMPLATE = (
    Mistake(
        _space_in_prompt,
        "Your prompt ends with a space. The tokens of most words bring their own; leave it to the answer.",
    ),
    Mistake(_no_space, "The answer begins with a space: that is how the model knows words from inside a sentence."),
    Mistake(_two_spaces, "There are two spaces between the colon and the answer, one in each text; one is enough."),
    Mistake(
        _space_without_input,
        "Where there is no input, you leave a space at the end of the instruction. Join the two only if there is one.",
    ),
    Mistake(_input_forgotten, "The input is missing: the model can't know which words it is asked about."),
    Mistake(_input_on_its_line, "The input stands on the same line as the instruction, after a space."),
    Mistake(_stripped, "You take white space off the texts of an entry; they go in as they are."),
    Mistake(
        _ends_stripped,
        "With an input that ends in a space, your prompt loses it: what stands in an entry goes in as it is. Join the "
        "two differently where there is no input.",
    ),
    Mistake(_line_after, "The answer follows on the line of `Assistant:`, after a space; you begin a new line."),
)

# ------------------------------------------------------------------------------------------------- answer_targets


def _nothing_masked(prompt, answer, eos_id):
    tokens = [*prompt, *answer, eos_id]
    return tokens[:-1], tokens[1:]


def _one_too_many(prompt, answer, eos_id):
    tokens = [*prompt, *answer, eos_id]
    return tokens[:-1], [-100] * len(prompt) + tokens[len(prompt) + 1 :]


def _one_too_few(prompt, answer, eos_id):
    tokens = [*prompt, *answer, eos_id]
    return tokens[:-1], [-100] * (len(prompt) - 2) + tokens[max(len(prompt) - 1, 1) :]


def _no_end(prompt, answer, eos_id):
    tokens = [*prompt, *answer]
    return tokens[:-1], [-100] * (len(prompt) - 1) + tokens[len(prompt) :]


def _end_masked(prompt, answer, eos_id):
    tokens = [*prompt, *answer]
    return tokens, [-100] * (len(prompt) - 1) + tokens[len(prompt) :] + [-100]


def _not_shifted(prompt, answer, eos_id):
    return [*prompt, *answer, eos_id], [-100] * len(prompt) + [*answer, eos_id]


def _end_among_inputs(prompt, answer, eos_id):
    return [*prompt, *answer, eos_id], [-100] * (len(prompt) - 1) + [*answer, eos_id]


def _something_after_the_end(prompt, answer, eos_id):
    return [*prompt, *answer, eos_id], [-100] * (len(prompt) - 1) + [*answer, eos_id, -100]


def _end_as_mask(prompt, answer, eos_id):
    return [*prompt, *answer], [eos_id] * (len(prompt) - 1) + [*answer, eos_id]


def _inputs_masked(prompt, answer, eos_id):
    return [-100] * len(prompt) + answer, [-100] * (len(prompt) - 1) + [*answer, eos_id]


def _masked_by_id(prompt, answer, eos_id):
    return [*prompt, *answer], [-100] * (len(prompt) - 1) + [t if t != eos_id else -100 for t in [*answer, eos_id]]


def _masked_by_prompt_ids(prompt, answer, eos_id):
    tokens = [*prompt, *answer, eos_id]
    return tokens[:-1], [-100 if token in prompt else token for token in tokens[1:]]


TARGETS = (
    Mistake(_nothing_masked, "Your targets have the tokens of the prompt, too. The model is not to learn to ask."),
    Mistake(
        _one_too_many,
        "You hide one target too many, the first token of the answer: it is predicted from the prompt's last token.",
    ),
    Mistake(_one_too_few, "You hide one target too few: the model learns to predict the prompt's last token."),
    Mistake(_no_end, "The end is missing: the model would learn what to answer, and not that it is done then."),
    Mistake(_end_masked, "The last target is hidden; it is the end of the text, which has to be learned."),
    Mistake(_not_shifted, "Each target is the input at the same place. It has to be the token that comes after it."),
    Mistake(
        _end_among_inputs, "Your two lists differ in length: the end is a target, but no input; nothing follows it."
    ),
    Mistake(
        _something_after_the_end,
        "The last of your inputs is the end, and no token comes after it. The answer's last token is the last input.",
    ),
    Mistake(_end_as_mask, "You hide the prompt with the end-of-text id. That is a token like others, and is learned."),
    Mistake(
        _inputs_masked,
        "You put -100 among the inputs. The model has to see the prompt; only the targets are hidden.",
    ),
    Mistake(
        _masked_by_id,
        "You hide every target that is the end-of-text id. Hide by place: the answer's own end has this id as well.",
    ),
    Mistake(
        _masked_by_prompt_ids,
        "You hide every target whose id is somewhere in the prompt. Hide by place: an answer may repeat a word.",
    ),
)

# ------------------------------------------------------------------------------------------------------ fill_rows


def _filled(lengths, room, *, full=False, keep=False, lose_first=False):
    """Rows as they should be, but for the mistakes that are asked for."""
    rows, used = [[]], 0
    for place, length in enumerate(lengths):
        if rows[-1] and (used + length >= room if full else used + length > room):
            rows.append([])
            used = -length if lose_first else used if keep else 0
        rows[-1].append(place)
        used += length
    return rows


def _full_is_too_much(lengths, room):
    return _filled(lengths, room, full=True)


def _never_emptied(lengths, room):
    return _filled(lengths, room, keep=True)


def _first_not_counted(lengths, room):
    return _filled(lengths, room, lose_first=True)


def _misfits_lost(lengths, room):
    rows, used = [[]], 0
    for place, length in enumerate(lengths):
        if used + length <= room:
            rows[-1].append(place)
            used += length
        else:
            rows.append([])
            used = 0
    return rows


def _last_row_lost(lengths, room):
    return _filled(lengths, room)[:-1]


def _empty_row_first(lengths, room):
    return [[], *_filled(lengths, room)]


def _lengths_in_rows(lengths, room):
    return [[lengths[place] for place in row] for row in _filled(lengths, room)]


def _counted_from_1(lengths, room):
    return [[place + 1 for place in row] for row in _filled(lengths, room)]


def _overfull(lengths, room):
    rows, used = [[]], 0
    for place, length in enumerate(lengths):
        if used >= room:
            rows.append([])
            used = 0
        rows[-1].append(place)
        used += length
    return rows


def _first_fit(lengths, room):
    rows, free = [], []
    for place, length in enumerate(lengths):
        row = next((i for i, left in enumerate(free) if length <= left), None)
        if row is None:
            rows.append([])
            free.append(room)
            row = -1
        rows[row].append(place)
        free[row] -= length
    return rows


ROWS = (
    Mistake(_full_is_too_much, "You begin a new row where an entry would fill the last one exactly. It still fits."),
    Mistake(_never_emptied, "After the first full row, each entry gets a row of its own: what is used begins anew."),
    Mistake(_first_not_counted, "The entry that begins a new row takes room, too; you don't count its tokens."),
    Mistake(_misfits_lost, "Entries get lost: one that doesn't fit any more has to go into the new row."),
    Mistake(_last_row_lost, "The last row is missing. What happens to a row that is begun and never gets full?"),
    Mistake(_empty_row_first, "Your first row is empty."),
    Mistake(_lengths_in_rows, "Your rows hold lengths; asked for are the numbers of the entries: 0, 1, 2, ..."),
    Mistake(_counted_from_1, "You count the entries from 1; the first has the number 0."),
    Mistake(_overfull, "Some of your rows are too long: look whether the entry fits *before* you put it in."),
    Mistake(_first_fit, "You go back to an earlier row that has room. Only the last row gets entries."),
)

# ---------------------------------------------------------------------------------------------------- exact_share


def _without_strip(said, right):
    return sum(a == b for a, b in zip(said, right, strict=True)) / len(right)


def _any_case(said, right):
    return sum(a.strip().lower() == b.strip().lower() for a, b in zip(said, right, strict=True)) / len(right)


def _contained(said, right):
    return sum(b.strip() in a for a, b in zip(said, right, strict=True)) / len(right)


def _begins_with(said, right):
    return sum(a.strip().startswith(b.strip()) for a, b in zip(said, right, strict=True)) / len(right)


def _without_full_stops(said, right):
    return sum(a.strip(" \n.") == b.strip(" \n.") for a, b in zip(said, right, strict=True)) / len(right)


def _in_any_place(said, right):
    return sum(a.strip() in [b.strip() for b in right] for a in said) / len(right)


def _same_words(said, right):
    return sum(sorted(a.split()) == sorted(b.split()) for a, b in zip(said, right, strict=True)) / len(right)


def _any_white_space(said, right):
    return sum(a.split() == b.split() for a, b in zip(said, right, strict=True)) / len(right)


def _count(said, right):
    return sum(a.strip() == b.strip() for a, b in zip(said, right, strict=True))


def _per_cent(said, right):
    return 100 * _count(said, right) / len(right)


EXACT = (
    Mistake(_without_strip, 'White space at the ends doesn\'t count: `"six "` is as good as `"six"`.'),
    Mistake(_any_case, "You don't look at the case, but `Ferry` is not `ferry`: in one of the tasks it is all."),
    Mistake(_contained, "You ask whether the right answer is *in* what was said. `the mill` is not `mill`."),
    Mistake(
        _begins_with, "You ask whether what was said *begins* with the right answer. `green ferry` is not `green`."
    ),
    Mistake(_without_full_stops, "You take full stops off, too: only white space doesn't count."),
    Mistake(_in_any_place, "You ask whether an answer is right for *some* question; it has to be right for its own."),
    Mistake(_same_words, "You don't look at the order of the words; there is a task where nothing else counts."),
    Mistake(_any_white_space, "White space doesn't count at the ends; *between* words it does, as all else."),
    Mistake(_count, "That is how many are right; asked for is the share of all."),
    Mistake(_per_cent, "That is in per cent; asked for is a number from 0 to 1."),
)

# ----------------------------------------------------------------------------------------------------- count_lora


def _only_a(shapes, rank):
    return sum(rank * k for _, k in shapes)


def _only_b(shapes, rank):
    return sum(rank * n for n, _ in shapes)


def _full(shapes, rank):
    return sum(n * k for n, k in shapes)


def _full_times_rank(shapes, rank):
    return sum(rank * n * k for n, k in shapes)


def _product_of_both(shapes, rank):
    return sum(rank * n * rank * k for n, k in shapes)


def _first_layer(shapes, rank):
    n, k = shapes[0]
    return rank * (n + k)


def _with_the_weights(shapes, rank):
    return sum(n * k + rank * (n + k) for n, k in shapes)


COUNT = (
    Mistake(_only_a, "You count A alone; B has `N * rank` numbers."),
    Mistake(_only_b, "You count B alone; A has `rank * K` numbers."),
    Mistake(_full, "Those are the frozen weights, `N * K` for each layer. A and B are thinner."),
    Mistake(_full_times_rank, "No matrix here has `N * K` numbers: A has `rank * K`, and B has `N * rank`."),
    Mistake(_product_of_both, "You multiply the two counts. The numbers of two matrices add up."),
    Mistake(_first_layer, "You count the first layer alone; add those of all."),
    Mistake(_with_the_weights, "You count the frozen weights too; they are not trained."),
)

# ------------------------------------------------------------------------------------------------------- low_rank


def _svd(update):
    return torch.linalg.svd(update, full_matrices=False)


def _without_values(update, rank):
    U, _, Vh = _svd(update)
    return U[:, :rank], Vh[:rank]


def _values_twice(update, rank):
    U, S, Vh = _svd(update)
    return U[:, :rank] * S[:rank], S[:rank, None] * Vh[:rank]


def _values_across(update, rank):
    U, S, Vh = _svd(update)
    return U[:, :rank], S[:rank] * Vh[:rank]


def _smallest(update, rank):
    U, S, Vh = _svd(update)
    return U[:, -rank:] * S[-rank:], Vh[-rank:]


def _columns_of_vh(update, rank):
    U, S, Vh = _svd(update)
    return U[:, :rank] * S[:rank], Vh[:, :rank].t()


def _rows_of_u(update, rank):
    U, S, Vh = _svd(update)
    return U[:rank].t() * S[:rank], Vh[:rank]


def _first_rows(update, rank):
    B = torch.zeros(len(update), rank)
    B[:rank] = torch.eye(rank)
    return B, update[:rank]


LOW_RANK = (
    Mistake(_without_values, "U and Vh have only directions; the singular values, how long, are missing."),
    Mistake(_values_twice, "The singular values are in both B and A, so that the product has their squares."),
    Mistake(
        _values_across,
        "`S[:rank] * Vh[:rank]` gives each *column* of Vh a value, where they fit at all. Each row is to have its own.",
    ),
    Mistake(_smallest, "You keep the smallest singular values. Those are the ones to leave out."),
    Mistake(
        _columns_of_vh,
        "You take columns of Vh. It is V transposed already (the h says so): what you need are its rows.",
    ),
    Mistake(_rows_of_u, "You take rows of U; the directions of the outputs are its columns."),
    Mistake(_first_rows, "Your product has some rows of the update as they are, and zeros for all others."),
)

# --------------------------------------------------------------------------------------------------- lora_forward


def _adapter(x, A, B):
    return x @ A.t() @ B.t()


def _not_scaled(x, weight, bias, A, B, alpha):
    return x @ weight.t() + bias + _adapter(x, A, B)


def _alpha_alone(x, weight, bias, A, B, alpha):
    return x @ weight.t() + bias + alpha * _adapter(x, A, B)


def _upside_down(x, weight, bias, A, B, alpha):
    return x @ weight.t() + bias + len(A) / alpha * _adapter(x, A, B)


def _other_rank(x, weight, bias, A, B, alpha):
    return x @ weight.t() + bias + alpha / A.shape[1] * _adapter(x, A, B)


def _n_for_rank(x, weight, bias, A, B, alpha):
    return x @ weight.t() + bias + alpha / len(B) * _adapter(x, A, B)


def _b_first(x, weight, bias, A, B, alpha):
    return x @ weight.t() + bias + alpha / len(A) * (x @ B.t() @ A.t())


def _weight_not_transposed(x, weight, bias, A, B, alpha):
    return x @ weight + bias + alpha / len(A) * _adapter(x, A, B)


def _without_base(x, weight, bias, A, B, alpha):
    return alpha / len(A) * _adapter(x, A, B)


def _without_bias(x, weight, bias, A, B, alpha):
    return x @ weight.t() + alpha / len(A) * _adapter(x, A, B)


def _all_scaled(x, weight, bias, A, B, alpha):
    return alpha / len(A) * (x @ weight.t() + bias + _adapter(x, A, B))


def _not_transposed(x, weight, bias, A, B, alpha):
    return x @ weight.t() + bias + alpha / len(A) * (x @ A @ B)


FORWARD = (
    Mistake(_not_scaled, "The adapter's output is not multiplied by `alpha / rank`."),
    Mistake(_alpha_alone, "You multiply by `alpha`; divide it by the rank."),
    Mistake(_upside_down, "Your scale is upside down: `alpha / rank`."),
    Mistake(_other_rank, "You take K for the rank. A is `(rank, K)`: the rank is how many rows it has."),
    Mistake(_n_for_rank, "You take N for the rank. B is `(N, rank)`: the rank is how many columns it has."),
    Mistake(_b_first, "x comes to A first, which makes it narrow, and then to B."),
    Mistake(_weight_not_transposed, "The weight has one row for each output, `(N, K)`: it has to be transposed, too."),
    Mistake(_without_base, "The frozen layer's own output is missing; the adapter comes on top of it."),
    Mistake(_without_bias, "The bias of the frozen layer is missing."),
    Mistake(_all_scaled, "You scale the frozen layer, too. Only the adapter's output is scaled."),
    Mistake(_not_transposed, "A and B are stored as PyTorch stores weights, one row for each output: transpose them."),
)

# ----------------------------------------------------------------------------------------------------- merge_lora


def _unscaled(weight, A, B, alpha):
    return weight + B @ A


def _times_alpha(weight, A, B, alpha):
    return weight + alpha * (B @ A)


def _scale_upside_down(weight, A, B, alpha):
    return weight + len(A) / alpha * (B @ A)


def _k_for_rank(weight, A, B, alpha):
    return weight + alpha / A.shape[1] * (B @ A)


def _weight_scaled_too(weight, A, B, alpha):
    return alpha / len(A) * (weight + B @ A)


def _subtracted(weight, A, B, alpha):
    return weight - alpha / len(A) * (B @ A)


def _update_alone(weight, A, B, alpha):
    return alpha / len(A) * (B @ A)


def _turned(weight, A, B, alpha):
    return weight + alpha / len(A) * (A.t() @ B.t())


def _other_order(weight, A, B, alpha):
    return weight + alpha / len(A) * (A @ B)


def _in_place(weight, A, B, alpha):
    weight += alpha / len(A) * (B @ A)
    return weight


MERGE = (
    Mistake(_unscaled, "The update is not multiplied by `alpha / rank`."),
    Mistake(_times_alpha, "You multiply by `alpha`; divide it by the rank."),
    Mistake(_scale_upside_down, "Your scale is upside down: `alpha / rank`."),
    Mistake(_k_for_rank, "You take K for the rank. A is `(rank, K)`: the rank is how many rows it has."),
    Mistake(_weight_scaled_too, "You scale the weight, too. Only the update is multiplied by `alpha / rank`."),
    Mistake(_subtracted, "You subtract the update: that takes a merged adapter out again."),
    Mistake(_update_alone, "That is the update; the weight itself is missing."),
    Mistake(_turned, "Your update is transposed, `(K, N)`. It has to be `(N, K)`, as the weight is."),
    Mistake(_other_order, "`A @ B` is a matrix of `(rank, rank)`, if it works at all. The order is the other one."),
    Mistake(
        _in_place,
        "The result is right, but you write it into `weight` itself (`+=`), and the frozen weight is lost. Make a new "
        "tensor.",
    ),
)
