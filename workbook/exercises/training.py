"""Chapter 5: the loss, the learning rate, clipping, and a whole training step."""

import math
from collections.abc import Callable, Sequence
from random import Random

import torch
from torch import Tensor, nn

from gptlib.datasets import IGNORE_INDEX
from gptlib.exercises.declaring import Choice, CodeExercise, Mistake, Prediction
from gptlib.loss import next_token_loss
from gptlib.training.schedule import learning_rate_at
from workbook.mistakes import training as wrong

MicroBatches = Sequence[tuple[Tensor, Tensor]]


# --- Cross-entropy ----------------------------------------------------------------------------------------------------


def cross_entropy_by_hand(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean of -log p, with p the softmax of logits (B, T, V) at targets (B, T), over targets that are not -100."""
    shifted = logits - logits.max(dim=-1, keepdim=True).values  # (B, T, V), the largest is 0: exp can't overflow
    log_p = shifted - shifted.exp().sum(dim=-1, keepdim=True).log()  # (B, T, V)
    counts = targets != IGNORE_INDEX  # (B, T)
    ids = targets.where(counts, 0)  # any id will do where nothing counts
    losses = -log_p.gather(-1, ids[..., None]).squeeze(-1)  # (B, T)
    return losses[counts].mean()


def number_of(candidate: Callable, logits: Tensor, targets: Tensor) -> float:
    """The candidate's result as a plain number, since a tensor of one number is as good as a float."""
    loss = candidate(logits, targets)
    return loss.item() if isinstance(loss, Tensor) and loss.numel() == 1 else loss


def _logit_cases(rng: Random) -> list[tuple]:
    V = rng.randint(5, 7)
    ids = torch.tensor([[0, 1, 2, 3], [4, 2, 0, 1]])  # (2, 4)
    some = torch.tensor([[0, IGNORE_INDEX, 2, IGNORE_INDEX], [4, 2, IGNORE_INDEX, 1]])
    uneven = torch.tensor([[0, 1, 2, 3], [4, IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX]])
    logits = torch.randn(2, 4, V)
    large = torch.tensor([[[200.0, 199.0, 0.0], [0.0, 200.0, -200.0]]])
    return [
        (torch.tensor([[[0.0, 0.0]]]), torch.tensor([[1]])),
        (logits, ids),
        (3 * torch.randn(1, 3, V), torch.tensor([[V - 1, 0, 1]])),
        (large, torch.tensor([[0, 1]])),
        (large, torch.tensor([[2, 0]])),
        (torch.tensor([[[300.0, 298.0], [0.5, -0.5]]]), torch.tensor([[1, 0]])),
        (logits, some),
        (logits, uneven),
    ]


# --- The learning rate ------------------------------------------------------------------------------------------------


def warmup_cosine(step: int, peak: float, lowest: float, warmup_steps: int, decay_steps: int) -> float:
    """The learning rate of step `step`, counted from 0: linear up to peak, then half a cosine down to lowest."""
    return learning_rate_at(
        step, schedule="cosine", peak=peak, lowest=lowest, warmup_steps=warmup_steps, decay_steps=decay_steps
    )


def _steps(rng: Random) -> list[tuple]:
    peak, warmup = rng.uniform(1, 2), rng.randint(5, 9)
    plain = [(step, 1.0, 0.1, 4, 20) for step in (0, 1, 3, 4, 5, 12, 19, 20, 21, 40)]
    return [*plain, (0, 1.0, 0.5, 0, 10), *((step, peak, 0.2, warmup, 30) for step in (2, warmup, 17, 29, 50))]


# --- Clipping ---------------------------------------------------------------------------------------------------------


def clip_gradients(gradients: Sequence[Tensor], max_norm: float) -> list[Tensor]:
    """The gradients, all scaled by one factor where their common norm is above max_norm (Pascanu et al. 2013)."""
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    if norm <= max_norm:
        return list(gradients)
    return [gradient * (max_norm / norm) for gradient in gradients]


def _gradients(rng: Random) -> list[tuple]:
    scale = rng.uniform(3, 9)
    return [
        ([torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])], 1.0),
        ([torch.tensor([0.3, 0.0]), torch.tensor([[0.4]])], 1.0),
        ([torch.zeros(3), torch.zeros(2, 2)], 1.0),
        ([torch.tensor([0.8, 0.0]), torch.tensor([0.8, 0.0])], 1.0),
        ([scale * torch.randn(3, 2), torch.randn(4), torch.randn(1)], 2.0),
        ([0.1 * torch.randn(5)], 0.5),
    ]


# --- A training step --------------------------------------------------------------------------------------------------


def training_step(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    """One step of the optimizer on the mean loss of all target tokens in all micro-batches of (inputs, targets)."""
    n_targets = sum((targets != IGNORE_INDEX).sum() for _, targets in micro_batches)
    optimizer.zero_grad()
    for inputs, targets in micro_batches:
        loss = next_token_loss(model(inputs), targets, "sum") / n_targets
        loss.backward()  # adds to the gradients that are there
    optimizer.step()


def step_twice(candidate: Callable, table: Tensor, micro_batches: MicroBatches) -> list[Tensor]:
    """The weights of a bigram model after one step of the candidate, and after another one.

    table (V, V): the model's weights, in row i the logits of what follows token i. The optimizer is plain SGD, which
    shows every factor that a gradient is off by; AdamW would divide it away.
    """
    model = nn.Embedding.from_pretrained(table.clone(), freeze=False)  # ids (B, T) -> logits (B, T, V)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    weights = []
    for _ in range(2):
        candidate(model, optimizer, micro_batches)
        weights.append(model.weight.detach().clone())
    return weights


def _micro_batches(rng: Random) -> list[tuple]:
    V = rng.randint(4, 6)

    def batches(n: int, ignored: Sequence[int] = ()) -> list[tuple[Tensor, Tensor]]:
        """n micro-batches of (2, 3); of the i-th, the last ignored[i] targets do not count."""
        made = []
        for i in range(n):
            ids = torch.randint(V, (2, 4))
            targets = ids[:, 1:].contiguous()
            if i < len(ignored) and ignored[i]:
                targets.view(-1)[-ignored[i] :] = IGNORE_INDEX
            made.append((ids[:, :-1].contiguous(), targets))
        return made

    return [
        (
            torch.zeros(3, 3),
            [(torch.tensor([[0, 1]]), torch.tensor([[1, 2]])), (torch.tensor([[1]]), torch.tensor([[0]]))],
        ),
        (torch.randn(V, V), batches(1)),
        (torch.randn(V, V), batches(2)),
        (torch.randn(V, V), batches(4)),
        (torch.randn(V, V), batches(3, ignored=(0, 4, 2))),
        (torch.randn(V, V), batches(2, ignored=(5, 5))),
    ]


EXERCISES = (
    CodeExercise(
        name="stable_cross_entropy",
        title="Cross-entropy that never overflows",
        minutes=15,
        difficulty=2,
        task="""
            Compute the loss of a batch from its logits, out of `exp`, `log`, sums and maxima, without PyTorch's own
            loss or softmax functions. It has to stay right for logits as large as 300, and targets of -100 are left
            out: they add nothing to the sum and do not count in the mean.
        """,
        stub='''
            def stable_cross_entropy(logits, targets):
                """The mean of -log p over the targets that are not -100: (B, T, V), (B, T) -> one number.

                Example: [[[0., 0.]]], [[1]] -> 0.6931, which is ln 2
                """
                ...
        ''',
        reference=next_token_loss,
        shows=(cross_entropy_by_hand, next_token_loss),
        run=number_of,
        cases=_logit_cases,
        tolerance=1e-4,  # log-sum-exp without the shift of the target's logit is as honest, and less exact
        mistakes=(
            Mistake(
                wrong.exp_overflows,
                "`exp` of a logit of 300 is `inf`, and `inf / inf` is `nan`. What can be subtracted from the logits of "
                "a position without changing their softmax?",
            ),
            Mistake(
                wrong.sum_overflows,
                "The sum of the `exp`s is `inf` for large logits, and so is its logarithm. What can be subtracted from "
                "the logits of a position first?",
            ),
            Mistake(
                wrong.log_of_zero,
                "A probability of e^-400 is rounded to 0, and `log(0)` is `-inf`. Take the logarithm of the softmax's "
                "formula on paper: the `exp` of the target's logit goes away.",
            ),
            Mistake(
                wrong.log_of_nearly_zero,
                "A small number inside the logarithm hides a probability of 0, and no loss can then be larger than the "
                "number allows. Take the logarithm of the softmax's formula on paper, and no small number is needed.",
            ),
            Mistake(
                wrong.flat_maximum,
                "Maximum and sum have lost the last dimension, so they no longer line up with their positions: "
                "`keepdim`?",
            ),
            Mistake(
                wrong.every_target_everywhere,
                "`[:, :, targets]` looks up *every* target at *every* position. `gather` takes one number at each.",
            ),
            Mistake(
                wrong.one_maximum,
                "You subtract one maximum from all positions. Where another position has far larger logits, every "
                "`exp` of this one becomes 0; each position needs its own maximum.",
            ),
            Mistake(
                wrong.over_positions,
                "You normalise over the positions (dimension 1). The probabilities of the tokens at one position have "
                "to sum to 1.",
            ),
            Mistake(
                wrong.sign_forgotten,
                "The sign is the wrong way round: a log-probability is at most 0, and a loss at least 0.",
            ),
            Mistake(wrong.summed, "You return the sum of the losses; their mean does not depend on the batch's size."),
            Mistake(
                wrong.ignored_in_the_count,
                "Targets of -100 add nothing to your sum, and still count in the number that you divide by.",
            ),
            Mistake(
                wrong.ignored_not_ignored,
                "-100 is no token id, so nothing can be looked up with it. Leave those positions out, or look up some "
                "other id there and drop the result.",
            ),
            Mistake(
                wrong.ignored_as_token_0,
                "You turn -100 into token 0, and its loss then counts; those positions must not count at all.",
            ),
            Mistake(
                wrong.mean_of_rows,
                "You average within each row, then over the rows. A row with few targets then weighs as much as a full "
                "one; every target has to weigh the same.",
            ),
        ),
        hints=(
            "Write -log(exp(z_target) / sum(exp(z))) without the fraction: log(sum(exp(z))) - z_target.",
            "Subtract from each position its own largest logit, `logits.max(dim=-1, keepdim=True).values`, and neither "
            "term can overflow.",
            "`gather(-1, ids[..., None])` picks one number at each position, but not with an id of -100: "
            "`targets.where(counts, 0)` makes ids that can be looked up, and `losses[counts].mean()` leaves them out "
            "again.",
        ),
        why="""
            The shift by the largest logit cancels in the fraction, so it changes nothing but the size of the numbers.
            PyTorch's `cross_entropy` does the same, in one pass; the library calls it, on float32 whatever precision
            the model computes in, and divides by the number of targets that count.
        """,
    ),
    Prediction(
        name="predict_perplexity",
        title="The perplexity of four tokens",
        minutes=4,
        task="""
            A model gives the right next token of four positions the probabilities 1/2, 1/2, 1/8 and 1/8. What is its
            perplexity on them? Pen and paper will do.
        """,
        answer=4.0,
        form="a number",
        diagnoses={
            5.0: "That is the mean of 1/p. Perplexity is `exp` of the mean loss: average the logarithms first.",
            3.2: "That is 1 divided by the mean probability. Average the losses, -log p, and not the probabilities.",
            2 * math.log(2): "That is the mean loss, in nats. Perplexity is `exp` of it.",
            0.25: "That is how likely a token was, typically. Perplexity is a number of choices: 1 over that.",
            256.0: "That is 1 over the product of all four; perplexity is about one token, so take the mean loss.",
            2.0: "That is the mean loss in bits (base 2). Which number has a base-2 logarithm of 2?",
        },
        hints=(
            "The loss of a probability of 1/2 is ln 2; that of 1/8 is ln 8, which is 3 ln 2.",
            "The mean loss is (1 + 1 + 3 + 3) / 4 times ln 2, so 2 ln 2. Now take `exp`.",
        ),
        why="""
            exp(2 ln 2) = 4: on average the model is as unsure as somebody who throws a fair die of four sides.
            Perplexity is the geometric mean of 1/p, so one very unlikely token hurts more than a likely one helps.
        """,
    ),
    Choice(
        name="first_debugging_step",
        title="One batch works, the run does not",
        minutes=3,
        difficulty=2,
        task="""
            Your model over-fits one batch within seconds. In the real run, the loss falls from 4.1 (which is ln V) to
            3.0, and there it stays, however long you wait: the model learns how common each character is, and nothing
            else. Which bug fits both?
        """,
        choices={
            "a": (
                "the optimizer holds the weights of another model",
                "Then one batch could not be learned either: the loss would stay at ln V, as in the figure above.",
            ),
            "b": (
                "inputs and targets are shuffled separately, so that they come from different windows",
                "One batch can be learned by heart whatever its targets are. But what is learned from it says nothing "
                "about the next one, and all that holds for every batch is how common each character is.",
            ),
            "c": (
                "the model is too small",
                "The run by hand, above, came well below 3.0 with a model of 60,000 weights. One that learns nothing "
                "but counts is not short of weights; its inputs tell it nothing.",
            ),
            "d": (
                "the causal mask is missing",
                "Then each position could look its answer up, and the loss of the run would fall far too low.",
            ),
        },
        answer="b",
        hints=(
            "One batch was learned: which parts of the program are in order, then? And which part has it not tested?",
            "Any targets of a single batch can be learned by heart, right or wrong ones.",
        ),
    ),
    CodeExercise(
        name="warmup_cosine",
        title="The learning rate of a step",
        minutes=10,
        difficulty=2,
        task="""
            Compute the learning rate of one step; steps are counted from 0.

            - In the warm-up, steps 0 to `warmup_steps - 1`, it rises by the same amount each step, and its last step
              has the full `peak`. Already step 0 gets a first part of it, not 0.
            - From step `warmup_steps` on, it follows half a cosine wave, from `peak` down to `lowest`, where it
              arrives at step `decay_steps`.
            - After that it stays at `lowest`.
        """,
        stub='''
            def warmup_cosine(step, peak, lowest, warmup_steps, decay_steps):
                """The learning rate of step `step`.

                Example: peak 1, lowest 0.1, warmup_steps 4, decay_steps 20:
                step 0 -> 0.25, step 3 -> 1.0, step 4 -> 1.0, step 12 -> 0.55, step 20 -> 0.1
                """
                ...
        ''',
        reference=warmup_cosine,
        shows=(learning_rate_at,),
        cases=_steps,
        tolerance=1e-6,
        mistakes=(
            Mistake(
                wrong.from_zero,
                "Your first step has a learning rate of 0 and changes nothing. Steps are counted from 0, so step 0 is "
                "the first of the warm-up's steps.",
            ),
            Mistake(
                wrong.one_step_too_long,
                "At step `warmup_steps` your rate is above `peak`: the warm-up goes on for one step too many. Is it "
                "`<` or `<=`?",
            ),
            Mistake(
                wrong.warmup_counts_as_decay,
                "Right after the warm-up your rate jumps to below `peak`. The cosine begins at step `warmup_steps`, "
                "and not at step 0.",
            ),
            Mistake(
                wrong.too_long_a_cosine,
                "Your rate is not yet at `lowest` at step `decay_steps`. How many steps lie between the end of the "
                "warm-up and that step?",
            ),
            Mistake(
                wrong.too_long_and_cut,
                "Your rate leaps down to `lowest` at step `decay_steps`. How many steps lie between the end of the "
                "warm-up and that step?",
            ),
            Mistake(
                wrong.a_quarter_of_a_wave,
                "You use a quarter of a wave, which is steep at its end. Half a wave goes from a top, where the cosine "
                "is 1, to a bottom, where it is -1.",
            ),
            Mistake(wrong.in_degrees, "`math.cos` counts in radians: half a wave is π, and not 180."),
            Mistake(
                wrong.warmup_from_lowest,
                "Your warm-up rises from `lowest`; it has to rise from 0, by the same amount each step.",
            ),
            Mistake(
                wrong.rises_again,
                "Past `decay_steps` your rate rises again, as a cosine does. It has to stay at `lowest`.",
            ),
            Mistake(wrong.down_to_zero, "Your cosine ends at 0; it has to end at `lowest`."),
            Mistake(
                wrong.on_top_of_lowest,
                "Your cosine begins at `peak + lowest`. If `lowest` is added at the end, how high is the wave on it?",
            ),
            Mistake(
                wrong.half_forgotten,
                "1 + cos goes from 2 down to 0, so your rate begins far above `peak`; it needs to go from 1 to 0.",
            ),
        ),
        hints=(
            "Three cases: `if step < warmup_steps`, past the end, and between them.",
            "Between them, let `progress` go from 0 at `warmup_steps` to 1 at `decay_steps`; "
            "`0.5 * (1 + math.cos(math.pi * progress))` then falls from 1 to 0.",
            "Scale that fall to the height `peak - lowest`, and put it on `lowest`. `min(progress, 1.0)` takes care of "
            "the end.",
        ),
        why="""
            The library's `learning_rate_at` also knows a "constant" schedule and takes its options by name. `max(...,
            1)` in it keeps a run that is all warm-up from dividing by zero.
        """,
    ),
    CodeExercise(
        name="clip_gradients",
        title="Clip gradients by their common norm",
        minutes=8,
        difficulty=2,
        task="""
            Given the gradients of all parameters, return them clipped: put all their numbers into one long row in your
            mind, take its norm, and where that is above `max_norm`, scale every gradient by the same factor so that
            the norm becomes `max_norm`. Gradients of a smaller norm stay as they are. Don't write into the caller's
            tensors.
        """,
        stub='''
            def clip_gradients(gradients, max_norm):
                """A list of tensors of any shapes -> a list of tensors of the same shapes.

                Example: [3., 0.] and [[4.]], max_norm 1 -> [0.6, 0.] and [[0.8]], as their common norm is 5
                """
                ...
        ''',
        reference=clip_gradients,
        cases=_gradients,
        mistakes=(
            Mistake(
                wrong.each_alone,
                "You clip each tensor by its own norm. The step then points another way; there is one norm of all "
                "tensors together, and one factor.",
            ),
            Mistake(
                wrong.always_scaled,
                "You also scale gradients whose norm is below `max_norm`: those would grow (and a norm of 0 makes "
                "`nan`). Clipping only ever shrinks.",
            ),
            Mistake(
                wrong.values_clamped,
                "You cut off each number on its own, which turns the gradient another way; scale all by one factor.",
            ),
            Mistake(
                wrong.clamped_in_place,
                "You cut off each number on its own, which turns the gradient another way, and you write into the "
                "caller's tensors; scale all by one factor into new ones.",
            ),
            Mistake(
                wrong.unchanged,
                "The gradients come back as they were. (PyTorch's `clip_grad_norm_` works on parameters that have a "
                "`.grad`; these are the gradients themselves.)",
            ),
            Mistake(
                wrong.norms_added,
                "You add the norms of the tensors. Norms do not add up: 3 and 4 make 5. Squares do.",
            ),
            Mistake(wrong.root_forgotten, "You compare the sum of the squares; a norm is its square root."),
            Mistake(
                wrong.brought_to_1,
                "You bring large gradients to a norm of 1, whatever `max_norm` is.",
            ),
        ),
        hints=(
            "The norm of one long row is the root of the sum of all squares, so sum the squares tensor by tensor.",
            "`norm = torch.sqrt(sum((g**2).sum() for g in gradients))`; which factor brings it to `max_norm`?",
            "The factor is `max_norm / norm` where `norm > max_norm`, and 1 elsewhere; multiply each gradient by it.",
        ),
        why="""
            One factor for all keeps the direction, and only limits how far a step goes (Pascanu et al. 2013).
            `torch.nn.utils.clip_grad_norm_` does it in place, on the `.grad` of the parameters, and returns the norm.
        """,
    ),
    CodeExercise(
        name="training_step",
        title="A training step with gradient accumulation",
        minutes=15,
        difficulty=3,
        task="""
            Write the heart of the training loop. Given a model, its optimizer and a list of micro-batches
            `(inputs, targets)`, make **one** step of the optimizer, on the gradients of the mean loss of all target
            tokens of all micro-batches, as if they had been one large batch. Only one micro-batch may go through the
            model at a time. Targets of -100 do not count, and micro-batches may differ in how many targets count. The
            function is called again and again, so no gradient may be left over from the call before.

            The check uses a bigram model (a table with the logits of every token's successor) and plain SGD, and calls
            your function twice.
        """,
        stub='''
            def training_step(model, optimizer, micro_batches):
                """One optimizer step; micro_batches: pairs of ids (B, T) and targets (B, T). Returns nothing.

                next_token_loss(model(ids), targets, "sum") is the sum of the losses of the targets that count.
                """
                ...
        ''',
        reference=training_step,
        run=step_twice,
        cases=_micro_batches,
        may_change_inputs=True,
        seconds=30.0,  # the first optimizer of a process makes PyTorch import its compiler
        mistakes=(
            Mistake(
                wrong.not_divided,
                "Your step is as many times too long as there are micro-batches: `backward` adds gradients up, and "
                "adding means makes no mean.",
            ),
            Mistake(
                wrong.sums_not_divided,
                "Your gradients are those of the sum of all losses. By what do you get to their mean?",
            ),
            Mistake(
                wrong.mean_of_means,
                "You average the means of the micro-batches. Where one has fewer targets that count, each of its "
                "targets then weighs more than the others'.",
            ),
            Mistake(
                wrong.padding_counted,
                "You divide by the number of all targets; those of -100 are no targets and must not be counted.",
            ),
            Mistake(
                wrong.divided_by_micro_batches,
                "You divide *sums* by the number of micro-batches. A mean over targets is a sum divided by the number "
                "of targets.",
            ),
            Mistake(
                wrong.all_at_once,
                "You put all micro-batches through the model in one go, which is what there is no memory for (and "
                "rows of different lengths can't be joined). One after the other: gradients add up.",
            ),
            Mistake(
                wrong.zeroed_in_the_loop,
                "Only your last micro-batch has an effect: `zero_grad` within the loop wipes out what the ones before "
                "it have gathered.",
            ),
            Mistake(
                wrong.step_in_the_loop,
                "You step after every micro-batch. The later ones then see other weights than the first; gather all "
                "gradients, then step once.",
            ),
            Mistake(
                wrong.steps_add_up,
                "You step within the loop, each time with all gradients gathered so far, so the first micro-batch is "
                "used again and again. Gather all, then step once.",
            ),
            Mistake(
                wrong.never_zeroed,
                "Your first step is right, but the second one still has the first one's gradients in it. What empties "
                "them?",
            ),
            Mistake(
                wrong.counted_on_the_way,
                "You divide by the number of targets seen so far, which is smaller for the first micro-batches. The "
                "number has to be known before the loop.",
            ),
            Mistake(
                wrong.zeroed_in_a_loop_of_means,
                "Only your last micro-batch has an effect: where is `zero_grad` called? After that, think of "
                "micro-batches with few targets.",
            ),
            Mistake(
                wrong.last_mean_alone,
                "Only your last micro-batch has an effect, since `zero_grad` stands in the loop; and nothing is "
                "divided yet.",
            ),
            Mistake(
                wrong.step_after_each_mean,
                "This is the plain loop: one step for each micro-batch. Gather the gradients of all of them, then "
                "step once.",
            ),
            Mistake(
                wrong.step_after_each_share,
                "You divide, and still step after every micro-batch; one step has to come after all of them.",
            ),
            Mistake(
                wrong.means_never_zeroed,
                "The second step still has the first one's gradients in it. When that is mended, think of "
                "micro-batches with few targets.",
            ),
            Mistake(
                wrong.no_step,
                "The weights are as they were. Either the optimizer takes no step, or the gradients are emptied before "
                "it does.",
            ),
        ),
        hints=(
            "The order: empty the gradients, then for each micro-batch forward and backward, then one step.",
            "The mean over all targets is the sum of the losses divided by the number of targets that count, in all "
            "micro-batches together. Count them before the loop: `(targets != -100).sum()`.",
            'In the loop: `loss = next_token_loss(model(inputs), targets, "sum") / n_targets`, then `loss.backward()`.',
        ),
        why="""
            Dividing each sum by the count of all targets makes the gradients add up to those of the mean over one
            large batch. The library's own step (`gptlib/training/trainer.py`) does this, and adds mixed precision,
            clipping and checks for numbers that are not finite. With AdamW a wrong constant factor would hardly show,
            since it divides by the size of the gradient; clipping and the loss you print would still be wrong.
        """,
    ),
    Choice(
        name="read_loss_curve",
        title="Read a loss curve",
        minutes=3,
        task="""
            A run of 1,000 steps ends. The training loss has come down from 4.1 to 3.3, in nearly a straight line and
            without any jumps; the validation loss lies 0.01 above it all the way. The samples are still noise. What do
            you change first?
        """,
        choices={
            "a": (
                "stop earlier, at the lowest validation loss",
                "That helps where validation turns up. Here the last step is the lowest, and both still fall.",
            ),
            "b": (
                "add dropout",
                "Dropout is against a gap between training and validation; there is none, the model knows too little.",
            ),
            "c": (
                "raise the learning rate, three to ten times",
                "Steady, slow and without noise, far from flat at the end: the steps are too short. A sweep says how "
                "much further one can go.",
            ),
            "d": (
                "look for a bug in the targets",
                "Where targets are given away, the loss falls far too fast and far too low; here it falls too slowly.",
            ),
        },
        answer="c",
        hints=(
            "Is there a gap between the two curves? Are they flat at the end?",
            "Which panel of the gallery above comes nearest to it?",
        ),
    ),
)
