"""Chapter 0: how exercises work, and the little PyTorch that the other chapters need."""

from random import Random

import torch
from torch import Tensor

from gptlib.exercises.declaring import Choice, CodeExercise, Mistake, Prediction


def center_rows(x: Tensor) -> Tensor:
    """x (rows, columns) minus each row's own mean -> (rows, columns)."""
    return x - x.mean(dim=1, keepdim=True)  # (rows, columns) - (rows, 1)


def _center_columns(x: Tensor) -> Tensor:
    return x - x.mean(dim=0)


def _center_all(x: Tensor) -> Tensor:
    return x - x.mean()


def _forget_keepdim(x: Tensor) -> Tensor:
    return x - x.mean(dim=1)


def _subtract_the_sum(x: Tensor) -> Tensor:
    return x - x.sum(dim=1, keepdim=True)


def _turned_around(x: Tensor) -> Tensor:
    return x.mean(dim=1, keepdim=True) - x


def _center_in_place(x: Tensor) -> Tensor:
    x -= x.mean(dim=1, keepdim=True)
    return x


def _matrices(rng: Random) -> list[tuple]:
    shapes = [(1, 4), (4, 1), (3, 3), (rng.randint(4, 6), 7)]
    return [(torch.tensor([[1.0, 3.0], [5.0, 9.0]]),), *((torch.randn(shape),) for shape in shapes)]


def gradient_step(w: Tensor, x: Tensor, y: Tensor, learning_rate: float) -> Tensor:
    """One step of gradient descent for the line y = w * x under the mean squared error; w () -> the new w ()."""
    w = w.detach().clone().requires_grad_()  # a copy, so that the caller's w stays as it is
    loss = ((w * x - y) ** 2).mean()  # ()
    loss.backward()
    with torch.no_grad():
        return w - learning_rate * w.grad


def _gradient(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return (2 * (w * x - y) * x).mean()


def _step_uphill(w: Tensor, x: Tensor, y: Tensor, learning_rate: float) -> Tensor:
    return w + learning_rate * _gradient(w, x, y)


def _only_the_gradient(w: Tensor, x: Tensor, y: Tensor, learning_rate: float) -> Tensor:
    return _gradient(w, x, y)


def _forget_the_learning_rate(w: Tensor, x: Tensor, y: Tensor, learning_rate: float) -> Tensor:
    return w - _gradient(w, x, y)


def _only_the_change(w: Tensor, x: Tensor, y: Tensor, learning_rate: float) -> Tensor:
    return -learning_rate * _gradient(w, x, y)


def _sum_of_squares(w: Tensor, x: Tensor, y: Tensor, learning_rate: float) -> Tensor:
    return w - learning_rate * _gradient(w, x, y) * len(x)


def _forget_the_two(w: Tensor, x: Tensor, y: Tensor, learning_rate: float) -> Tensor:
    return w - learning_rate * _gradient(w, x, y) / 2


def _forget_the_inner_slope(w: Tensor, x: Tensor, y: Tensor, learning_rate: float) -> Tensor:
    return w - learning_rate * (2 * (w * x - y)).mean()


def _forget_the_square(w: Tensor, x: Tensor, y: Tensor, learning_rate: float) -> Tensor:
    return w - learning_rate * x.mean()


def _subtract_the_loss(w: Tensor, x: Tensor, y: Tensor, learning_rate: float) -> Tensor:
    return w - learning_rate * ((w * x - y) ** 2).mean()


def _a_step_for_each_point(w: Tensor, x: Tensor, y: Tensor, learning_rate: float) -> Tensor:
    return w - learning_rate * 2 * (w * x - y) * x


def _loss_of_the_original(w: Tensor, x: Tensor, y: Tensor, learning_rate: float) -> Tensor:
    copy = w.clone().requires_grad_()
    ((w * x - y) ** 2).mean().backward()  # nothing here records, and so this raises
    return w - learning_rate * copy.grad


def _recorded_step(w: Tensor, x: Tensor, y: Tensor, learning_rate: float) -> Tensor:
    w = w.clone().requires_grad_()
    ((w * x - y) ** 2).mean().backward()
    w -= learning_rate * w.grad  # raises: a step within the record
    return w


def _step_in_place(w: Tensor, x: Tensor, y: Tensor, learning_rate: float) -> Tensor:
    w -= learning_rate * _gradient(w, x, y)
    return w


def _points(rng: Random) -> list[tuple]:
    example = (torch.tensor(1.0), torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0]), 0.1)
    already_there = (torch.tensor(2.0), torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]), 0.1)
    noisy = [(torch.randn(()), torch.randn(n), torch.randn(n), rng.uniform(0.01, 0.5)) for n in (1, 5, 8)]
    return [example, already_there, *noisy]


EXERCISES = (
    Prediction(
        name="model_runs",
        title="How often the model runs",
        minutes=1,
        task="""
            The model gets a prompt of 3 tokens and writes 5 new ones, in the loop that you have seen above. How many
            times does the model compute probabilities?
        """,
        answer=5,
        form="a whole number",
        diagnoses={
            8: "The 3 tokens of the prompt are given, not written; and one run takes in all the tokens there are.",
            3: "Those are the tokens of the prompt. They are given; what has to be computed is what comes behind them.",
            1: "One run gives the probabilities of one next token only. What does the token after that depend on?",
            4: "Each new token is picked from probabilities of its own, the first of them too.",
            6: "After the fifth new token nothing more is written, so nothing more has to be computed.",
            15: "Each run takes in the whole text so far at once, and not one token of it at a time.",
        },
        hints=(
            "Go through the loop above with a pencil: what happens for one new token?",
            "Every new token needs one run, and every run yields one new token.",
        ),
        why="One run for each new token: that is why a long answer takes long. Chapter 6 makes each run much cheaper.",
    ),
    Choice(
        name="broadcast_shape",
        title="What broadcasting makes",
        minutes=2,
        task="`a` has the shape `(5, 1, 3)` and `b` the shape `(4, 1)`. What is `a + b`?",
        choices={
            "a": (
                "of shape `(4, 3)`",
                "Where a size is missing, the other one stays: the result has three dimensions.",
            ),
            "b": ("of shape `(5, 4, 1)`", "In the last place 3 meets 1, and it is the 1 that is stretched."),
            "c": ("of shape `(5, 4, 3)`", "`b` counts as `(1, 4, 1)`; each size of 1 is stretched to the other's."),
            "d": (
                "an error",
                "Sizes may differ where one of them is 1 or missing: lined up at the right, 3 meets 1, 1 meets 4, and "
                "5 meets nothing.",
            ),
        },
        answer="c",
        hints=(
            "Write the shapes below each other, lined up at the right.",
            "A missing dimension counts as 1, and a 1 is stretched to whatever the other has.",
        ),
    ),
    CodeExercise(
        name="center_rows",
        title="Centre the rows",
        minutes=3,
        task="""
            Subtract from each row of a matrix its own mean, so that each row sums to 0. `x.mean` takes the dimension
            to average over; broadcasting does the rest.
        """,
        stub='''
            def center_rows(x):
                """x (rows, columns) minus each row's own mean -> (rows, columns).

                Example: [[1., 3.], [5., 9.]] -> [[-1., 1.], [-2., 2.]]
                """
                ...
        ''',
        reference=center_rows,
        cases=_matrices,
        mistakes=(
            Mistake(_center_columns, "You average over the rows (`dim=0`); each row's mean is over its columns."),
            Mistake(_center_all, "You subtract one mean of all numbers; each row has a mean of its own."),
            Mistake(
                _subtract_the_sum, "You subtract each row's sum; its mean is smaller, and there is a method for it."
            ),
            Mistake(_turned_around, "All signs are turned round: it is `x` minus the mean, not the mean minus `x`."),
            Mistake(
                _forget_keepdim,
                "The means have the shape `(rows,)`, and broadcasting lines that up with the columns. Does `keepdim` "
                "help?",
            ),
            Mistake(
                _center_in_place,
                "The result is right, but `-=` writes into the caller's `x`; make a new tensor, `x - ...`.",
            ),
        ),
        hints=(
            "`x.mean(dim=...)` averages over one dimension. Which one is within a row?",
            "The means need the shape `(rows, 1)`, so that each is subtracted along its row: see `keepdim=True`.",
        ),
        why="Broadcasting stretches the `(rows, 1)` means along the columns. LayerNorm (chapter 4) begins like this.",
    ),
    Prediction(
        name="product_shape",
        title="The shape of a product",
        minutes=2,
        task="""
            `x` has the shape `(2, 5, 3)`, as 2 texts of 5 tokens, each token 3 numbers; `w` has the shape `(3, 4)`.
            What is the shape of `x @ w`?
        """,
        answer=(2, 5, 4),
        form="a tuple of whole numbers, like (2, 3)",
        diagnoses={
            (2, 5, 3, 4): "The dimension that both share is summed over, and so it is not in the result.",
            (2, 5, 3): "The inner sizes, 3 and 3, meet and vanish; what does `w` put in their place?",
            (2, 3, 4): "The rows of `x` are its tokens, and there are 5 of them in each text.",
            (5, 4): "The product is made for each of the 2 texts, and the dimension of texts stays.",
            (10, 4): "The dimension of texts stays apart from that of the tokens.",
        },
        hints=(
            "Forget the first dimension for a moment: what is the shape of `(5, 3) @ (3, 4)`?",
            "That is done for each of the 2 texts, and the results are stacked again.",
        ),
        why="Each token's 3 numbers become 4, by the same matrix for all. Every linear layer of GPT-2 does just this.",
    ),
    Prediction(
        name="heads_shape",
        title="View, then transpose",
        minutes=2,
        difficulty=2,
        task="""
            `x` has the shape `(2, 5, 12)`. What is the shape of `x.view(2, 5, 3, 4).transpose(1, 2)`?
        """,
        answer=(2, 3, 5, 4),
        form="a tuple of whole numbers, like (2, 3)",
        diagnoses={
            (2, 5, 3, 4): "That is the shape after `view`; `transpose(1, 2)` then exchanges two of its dimensions.",
            (5, 2, 3, 4): "Dimensions are counted from 0, so that 1 and 2 are the second and the third.",
            (2, 5, 4, 3): "You exchanged the last two dimensions, 2 and 3; asked for are 1 and 2, counted from 0.",
            (2, 12, 5): "`view` comes first and splits the 12; `transpose` then works on four dimensions.",
        },
        hints=(
            "Do it in two steps: the shape after `view` stands in its parentheses.",
            "`transpose(1, 2)` exchanges the second and the third of the four sizes.",
        ),
        why="This is how attention gets its heads (chapter 3): 12 numbers for each of 5 tokens become 3 heads of 4.",
    ),
    Prediction(
        name="slope_by_hand",
        title="A slope by hand",
        minutes=3,
        difficulty=2,
        task="""
            The loss is `(2 * w - 3) ** 2`. What is its gradient with respect to `w` where `w` is 4?
        """,
        answer=20.0,
        form="a number",
        diagnoses={
            25: "That is the loss itself; its gradient says how fast it changes with `w`.",
            10: "That is the slope of the square, 2 · 5. What is inside it changes with `w` too: twice as fast.",
            5: "That is what is inside the square, 2 · 4 − 3. Which two slopes does the chain rule multiply?",
            2: "That is the slope of what is inside the square; the square has one too.",
            40: "The 2 before `w` counts once. The slope of the square is 2 · (2 · 4 − 3).",
            16: "Does the − 3 stay inside? The slope of the square is twice what is inside it.",
        },
        hints=(
            "Call what is inside the square u. How fast does u² change with u, and how fast does u change with w?",
            "u is 2 · 4 − 3 = 5. The slope of u² is 2 · u, that of 2 · w − 3 is 2, and both are multiplied.",
        ),
        why="2 · (2 · 4 − 3) · 2 = 20. `backward()` multiplies such slopes through all layers, from the loss to you.",
    ),
    CodeExercise(
        name="gradient_step",
        title="One step downhill",
        minutes=8,
        difficulty=2,
        task="""
            Write one step of gradient descent for the line `y = w * x` through the origin. The loss is the mean of the
            squared errors, `((w * x - y) ** 2).mean()`. Return the new `w`, and leave the caller's as it is. You may
            work the gradient out by hand or let `backward` find it; `w.clone().requires_grad_()` makes a copy that
            records.
        """,
        stub='''
            def gradient_step(w, x, y, learning_rate):
                """w (), x and y (n,) -> the new w () after one step of gradient descent.

                Example: w 1., x [1., 2.], y [3., 6.], learning rate 0.1 -> 2. (the gradient is -10)
                """
                ...
        ''',
        reference=gradient_step,
        cases=_points,
        mistakes=(
            Mistake(_step_uphill, "The step goes uphill: the gradient points to where the loss grows."),
            Mistake(_only_the_gradient, "That is the gradient, and it is right; what is the new `w` with it?"),
            Mistake(_only_the_change, "That is by how much `w` changes; return the new `w` itself."),
            Mistake(_forget_the_learning_rate, "The step is the whole gradient; how long a step did the caller want?"),
            Mistake(_sum_of_squares, "The gradient is that of the sum of the squared errors; the loss is their mean."),
            Mistake(_forget_the_two, "The gradient is half of what it should be: what is the slope of a square?"),
            Mistake(
                _forget_the_inner_slope, "The chain rule has one more factor: how fast does `w * x` grow with `w`?"
            ),
            Mistake(_forget_the_square, "That is the slope of the error, and not of its square."),
            Mistake(_subtract_the_loss, "You subtract the loss; it says how wrong `w` is, and not which way to go."),
            Mistake(
                _a_step_for_each_point,
                "That is a step for each point. The loss is the mean over all points, so its gradient is one number.",
            ),
            Mistake(
                _loss_of_the_original,
                "Nothing was recorded, so `backward` has no way back: compute the loss with the copy that records, and "
                "not with the `w` that came in.",
            ),
            Mistake(
                _recorded_step,
                "The step itself is recorded, and PyTorch refuses to record it. What switches the recording off?",
            ),
            Mistake(
                _step_in_place,
                "The new `w` is right, but it is written into the caller's tensor; make a new one, `w - ...`.",
            ),
        ),
        hints=(
            "Three lines: the loss, its gradient, and a step against the gradient.",
            "With autograd: copy `w` with `w.clone().requires_grad_()`, compute the loss, call `backward()` on it, and "
            "the gradient is in the copy's `.grad`.",
            "By hand the gradient is `(2 * (w * x - y) * x).mean()`; the step subtracts the learning rate times that.",
        ),
        why="""
            The whole of training is this step, with millions of parameters in the place of one. The step itself stands
            under `no_grad`, since it is not a part of what the loss depends on.
        """,
    ),
    Prediction(
        name="linear_parameters",
        title="Count the parameters",
        minutes=2,
        task="How many numbers does training change in `nn.Linear(3, 4)`?",
        answer=16,
        form="a whole number",
        diagnoses={
            12: "That is the matrix. What is added to each of the outputs?",
            15: "There is one bias for each output, and not for each input.",
            7: "The matrix holds a number for each pair of an input and an output.",
            2: "There are two parameters, a matrix and a vector; the question is how many numbers they hold together.",
        },
        hints=(
            "The weight has the shape `(4, 3)`. What else does a linear layer have?",
            "One bias for each of the 4 outputs comes on top of the 4 · 3 numbers of the matrix.",
        ),
        why="4 · 3 weights and 4 biases. In this way you will count GPT-2's 124 million in chapter 4.",
    ),
)
