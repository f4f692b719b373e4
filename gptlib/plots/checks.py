"""What every figure asks of its arguments, checked before a figure is begun; one sentence for what can't be drawn."""

from collections.abc import Sequence

import numpy as np


def as_array(values) -> np.ndarray:
    """A tensor of any type, an array, or a list of numbers (tensors without dimensions too) as an array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        return np.asarray(values.double() if values.is_floating_point() else values)
    if isinstance(values, Sequence) and any(hasattr(value, "detach") for value in values):
        values = [as_array(value) for value in values]
    return np.asarray(values)


def as_row(values, name: str) -> np.ndarray:
    """Numbers (n,) as floats, None as NaN. `name` begins the message: "The curve 'a'"."""
    array = as_array(values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} has the shape {array.shape}; pass one row of numbers, at least one.")
    return array.astype(float)


def as_matrix(values, name: str, axes: str = "(rows, columns)") -> np.ndarray:
    """Finite numbers (rows, columns) as floats. `name` begins the message: "The table"; `axes` are what it shall be."""
    array = as_array(values)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} has the shape {array.shape}; pass one matrix {axes}, not empty.")
    array = array.astype(float)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has NaN or infinity, which no colour stands for; pass finite numbers.")
    return array


def as_matrices(values, axes: str = "(rows, columns)") -> dict[str, np.ndarray]:
    """Matrices {title: (rows, columns)} of one shape."""
    matrices = {title: as_matrix(matrix, f"{title!r}", axes) for title, matrix in values.items()}
    if len({matrix.shape for matrix in matrices.values()}) > 1:
        shapes = {title: matrix.shape for title, matrix in matrices.items()}
        raise ValueError(f"The matrices have the shapes {shapes}; pass matrices {axes}, all alike.")
    return matrices


def as_distribution(values, name: str) -> np.ndarray:
    """Probabilities (V,) as floats."""
    array = as_row(values, name)
    if not (array >= 0).all() or abs(array.sum() - 1) > 1e-3:
        raise ValueError(
            f"{name} has the sum {array.sum():.4g} and the lowest value {array.min():.4g}; pass a distribution (V,), "
            "numbers that are not negative and sum to 1."
        )
    return array


def one_for_each(given, wanted: int, name: str, each: str) -> None:
    """Raise ValueError unless what is `given` has as many items as there are things `wanted`; None is fine."""
    if given is not None and len(given) != wanted:
        raise ValueError(f"There are {len(given)} {name} and {wanted} {each}s; pass one for each {each}.")
