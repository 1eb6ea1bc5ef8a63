"""The target of a table: a column, or an expression of columns that cannot run code."""

import ast
import re
from collections.abc import Iterable
from keyword import iskeyword
from typing import Any

import pandas as pd

from batchlab.config.override_text import override_text
from batchlab.errors import ConfigErrors, config_error, nearest

ALLOWED = (
    *(ast.Expression, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple),
    *(ast.Compare, ast.cmpop, ast.BoolOp, ast.boolop, ast.UnaryOp, ast.unaryop),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr),
)
KINDS = "comparisons, arithmetic, & | ~ and or not in, column names (`two words` in backticks) and constants"


def evaluate_target(frame: pd.DataFrame, target: object) -> tuple[pd.Series, list[str]]:
    """Evaluate the target; return its values and the columns that it is made of.

    A row in which any of these columns is missing has no target: pandas calls ``NaN > 15`` False, which would
    turn the missing into examples of a class.

    Args:
        frame: the table, N rows.
        target: name of a column, or an expression of columns, e.g. ``ArrDelay > 15``.

    Returns:
        The target [N], missing where a used column is, and the used columns.

    Raises:
        ConfigErrors: where a column is unknown or the expression is not allowed.
    """
    if isinstance(target, int | float) and str(target) in frame.columns:
        target = str(target)  # a column called 3
    if not isinstance(target, str) or not target.strip():
        names = ", ".join(frame.columns[:30])
        raise _refusal(target, f"a column or an expression of columns is needed; columns: {names}", frame.columns)
    if target in frame.columns:
        column: Any = frame[target]
        return column, [target]
    source, used = _parse_names(target, list(frame.columns))
    columns = frame[list(used.values())].set_axis(list(used), axis=1)
    try:
        values: Any = columns.eval(source, engine="python")
    except Exception as error:  # pandas raises whatever the operands of the expression do
        raise _refusal(target, f"the expression cannot be evaluated ({error})", frame.columns) from None
    if not isinstance(values, pd.Series) or len(values) != len(frame):
        raise _refusal(target, "the expression must give one value for each row", frame.columns)
    known: Any = values.where(columns.notna().all(axis=1))
    return known, list(used.values())


def _parse_names(target: str, known: list[str]) -> tuple[str, dict[str, str]]:
    # names in backticks, which Python's grammar lacks, become identifiers of our own
    quoted = {f"column_{number}_": name for number, name in enumerate(re.findall(r"`([^`]+)`", target))}
    source = target.strip()
    for identifier, name in quoted.items():
        source = source.replace(f"`{name}`", identifier, 1)
    try:
        tree = ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        guess = _with_backticks(target, known) or nearest(target, known)
        raise _refusal(target, "this is neither a column nor an expression of columns", known, guess) from None
    for node in ast.walk(tree):
        if not isinstance(node, ALLOWED):
            what = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
            said = f"'{what}' is not allowed in an expression; allowed: {KINDS}"
            raise _refusal(target, said, known, _with_backticks(target, known))
    found = dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    used = {identifier: quoted.get(identifier, identifier) for identifier in found}
    for name in used.values():
        if name not in known:
            guess = _with_backticks(target, known)
            if not guess and (close := nearest(name, known)):
                guess = target.replace(name, close if close.isidentifier() or f"`{name}`" in target else f"`{close}`")
            raise _refusal(target, f"there is no column '{name}'; columns: {', '.join(known[:30])}", known, guess)
    if not used:
        raise _refusal(target, "the expression uses no column", known, _with_backticks(target, known))
    return source, used


def _with_backticks(target: str, known: list[str]) -> str | None:
    """Put the columns that an expression has, and that are no names in Python, in backticks; None where it has none."""
    odd = sorted((name for name in known if not name.isidentifier() or iskeyword(name)), key=len, reverse=True)
    pattern = "|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in odd if "`" not in name and not name.isdecimal())
    if not pattern or "`" in target:
        return None
    quoted = re.sub(pattern, lambda found: f"`{found[0]}`", target)
    return quoted if quoted != target else None


def _refusal(target: object, allowed: str, columns: Iterable[str], guess: str | None = None) -> ConfigErrors:
    """Make the error of a target; without a guess it offers the last column, where targets mostly stand."""
    *_, last = columns
    fix = override_text("data.target", guess or last) + ("" if guess else ", or another column or expression")
    return config_error("data.target", target, allowed, fix)
