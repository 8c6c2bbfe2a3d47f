"""Diagnosis of a wrong Jacobian: the mistakes that would explain it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_lab.backend import Array

CLOSE = 1e-6  # relative accuracy of the numerical Jacobian


def same(a: Array, b: Array, scale: float) -> bool:
    """Return whether two arrays agree within the accuracy of differences."""
    return bool(a.shape == b.shape and np.isfinite(a).all() and np.abs(a - b).max(initial=0.0) <= CLOSE * scale)


def wrong_entries(analytic: Array, numerical: Array) -> Array:
    """Return a mask of the entries that differ."""
    scale = np.maximum(np.abs(numerical), np.abs(numerical).max(initial=0.0) * 1e-3) + 1e-9
    with np.errstate(invalid="ignore"):
        return ~(np.abs(analytic - numerical) <= CLOSE * 10 * scale)


def explanations(analytic: Array, numerical: Array, x: Array, shape: Sequence[int]) -> list[str]:
    """Return the mistakes that would turn the numerical Jacobian into the analytic one, likeliest first.

    Parameters
    ----------
    analytic, numerical : arrays of shape (m, n)
        The Jacobian from the rules, and from differences.
    x : array of n elements
        The argument.
    shape : tuple of int
        The shape of the result, of m elements.
    """
    scale = float(np.abs(numerical).max(initial=0.0)) or 1.0
    if not np.isfinite(analytic).all():
        return ["the rule gives NaN or infinity: a division by zero, or 0 * infinity?"]
    if not analytic.any():
        return ["the gradient is zero everywhere: is the argument treated as a constant, or its rule missing?"]
    tests = (factor, transposed, zero_parts, lost_rows, off_diagonal, common_term, rank_one, some_rows_only)
    return [text for test in tests if (text := test(analytic, numerical, x, tuple(shape), scale))]


def factor(a: Array, b: Array, x: Array, shape: tuple[int, ...], scale: float) -> str:
    """Recognize a Jacobian whose entries all have the same wrong factor."""
    if not np.abs(b).max(initial=0.0):
        return ""
    c = float(np.sum(a * b) / np.sum(b * b))
    if not same(a, c * b, scale * max(1.0, abs(c))) or abs(c - 1) < 1e-9:
        return ""
    if abs(c + 1) < 1e-6:
        return "every entry has the wrong sign"
    if np.count_nonzero(b) == 1 and not any(abs(r - round(r)) < 1e-6 for r in (c, 1 / c if c else 0.0)):
        return ""  # some factor always fits a single number
    ratio = c if abs(c) > 1 else 1 / c if c else 0.0
    sizes = {"rows of the batch": shape[0] if shape else 0, "elements of the argument": x.size, "results": b.shape[0]}
    sizes |= {f"elements along axis {k} of the argument": n for k, n in enumerate(x.shape)}
    meaning = [name for name, n in sizes.items() if n > 2 and abs(ratio - n) < 1e-6]
    if meaning:  # 2 has other causes; without the number, since the report may show a smaller case
        how = f"{'multiplied' if c > 1 else 'divided'} by the number of {meaning[0]}"
        return f"every entry is {how}: a mean instead of a sum, or a sum instead of a mean?"
    hint = ": the gradient is counted more than once?" if abs(c - round(c)) < 1e-6 and c > 1 else ""
    return f"every entry is {c:.6g} times what it should be{hint}"


def transposed(a: Array, b: Array, x: Array, shape: tuple[int, ...], scale: float) -> str:
    """Recognize two exchanged axes of the argument or of the result."""
    for what, lengths, axis in (("the argument", x.shape, 1), ("the result", shape, 0)):
        for i in range(len(lengths)):
            for j in range(i + 1, len(lengths)):
                if lengths[i] != lengths[j] or lengths[i] == 1:
                    continue
                order = np.swapaxes(np.arange(int(np.prod(lengths))).reshape(lengths), i, j).reshape(-1)
                if same(np.take(a, order, axis=axis), b, scale):
                    return f"axes {i} and {j} of {what} are exchanged: there is a transpose too few, or one too many"
    if a.shape[0] == a.shape[1] and same(a.T, b, scale):
        return "the Jacobian is the transpose of the right one: J v instead of J^T v"
    return ""


def zero_parts(a: Array, b: Array, x: Array, shape: tuple[int, ...], scale: float) -> str:
    """Recognize elements of the argument that should have a gradient but get none, if all others are right."""
    lost = ~a.any(axis=0) & (np.abs(b).max(axis=0, initial=0.0) > CLOSE * scale)
    if not lost.any() or not same(a[:, ~lost], b[:, ~lost], scale):
        return ""
    which = shown(np.flatnonzero(lost))
    return f"{int(lost.sum())} of {lost.size} elements of the argument get no gradient: columns {which}"


def lost_rows(a: Array, b: Array, x: Array, shape: tuple[int, ...], scale: float) -> str:
    """Recognize results that contribute nothing to the gradient, if all others are right: a sum lacks their terms."""
    lost = ~a.any(axis=1) & (np.abs(b).max(axis=1, initial=0.0) > CLOSE * scale)
    if not lost.any() or not same(a[~lost], b[~lost], scale):
        return ""
    if len(shape) > 1 and shape[0] > 1 and lost.reshape(shape)[1:].all() and not lost.reshape(shape)[0].any():
        return "only the first row of the batch contributes: the sum over axis 0 is missing"
    which = shown(np.flatnonzero(lost))
    return f"{int(lost.sum())} of {lost.size} results contribute nothing: rows {which}; is a sum missing?"


def off_diagonal(a: Array, b: Array, x: Array, shape: tuple[int, ...], scale: float) -> str:
    """Recognize a diagonal matrix in place of a Jacobian with cross terms."""
    if a.shape[0] != a.shape[1] or a.shape[0] == 1:
        return ""
    diagonal = np.diag(np.diag(a))
    if same(a, diagonal, scale) and not same(b, np.diag(np.diag(b)), scale):
        return "all entries off the diagonal are 0: the terms between different elements are missing"
    return ""


def common_term(a: Array, b: Array, x: Array, shape: tuple[int, ...], scale: float) -> str:
    """Recognize an error that is the same for all elements of the argument, because a mean or sum is missing."""
    missing = b - a
    if missing.shape[1] > 1 and same(missing, missing[:, :1] * np.ones((1, missing.shape[1])), scale) and missing.any():
        return "the same term is missing for all elements of the argument: a sum or mean over the cotangent?"
    return ""


def rank_one(a: Array, b: Array, x: Array, shape: tuple[int, ...], scale: float) -> str:
    """Recognize a missing product of two vectors, such as the variance term of a normalization."""
    missing = b - a
    if min(missing.shape) < 3:
        return ""
    _, s, v = np.linalg.svd(missing)
    if s[0] <= CLOSE * scale or s[1] > 1e-5 * s[0]:
        return ""
    centered = x.reshape(-1) - x.mean()
    length = float(np.linalg.norm(centered))
    if length and abs(abs(float(v[0] @ centered)) / length - 1) < 1e-4:
        return "a term of rank one, proportional to x - mean(x), is missing: the derivative of a variance?"
    return "a term of rank one is missing or superfluous: a product of the cotangent's sum with one vector"


def some_rows_only(a: Array, b: Array, x: Array, shape: tuple[int, ...], scale: float) -> str:
    """Recognize errors at only one index of an axis of the result."""
    wrong = wrong_entries(a, b).any(axis=1)
    if wrong.all() or not wrong.any():
        return ""
    grid = wrong.reshape(shape) if shape else wrong
    for axis in range(grid.ndim):
        hit = grid.any(axis=tuple(k for k in range(grid.ndim) if k != axis))
        if hit.sum() == 1 and hit.size > 1:
            place = f"index {int(np.flatnonzero(hit)[0])} along axis {axis}"
            return f"only results with {place} are wrong: an edge or padding case?"
    return ""


def shown(numbers: Array) -> str:
    """Return the first few numbers as text."""
    return ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")


def side_by_side(
    analytic: Array,
    numerical: Array,
    most: int = 8,
    *,
    titles: tuple[str, str] = ("by the rules", "by differences"),
) -> str:
    """Return two matrices side by side; ``*`` marks wrong entries of the first."""
    wrong = wrong_entries(analytic, numerical)
    rows, columns = min(most, analytic.shape[0]), min(most, analytic.shape[1])
    lines = [f"{titles[0]:<{13 * columns}}  |  {titles[1]}"]
    for r in range(rows):
        left = "".join(f"{analytic[r, c]:>11.4g}{'*' if wrong[r, c] else ' '} " for c in range(columns))
        right = "".join(f"{numerical[r, c]:>11.4g}  " for c in range(columns))
        lines.append(f"{left}  |  {right}".rstrip())
    if analytic.shape != (rows, columns):
        lines.append(f"(the first {rows} x {columns} of {analytic.shape[0]} x {analytic.shape[1]} entries)")
    return "\n".join(lines)
