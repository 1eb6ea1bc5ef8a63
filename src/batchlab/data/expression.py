"""The target of a table: a column, or an expression of columns that cannot run code."""

import ast
import re
from typing import Any

import pandas as pd

from batchlab.config.override_text import override_text
from batchlab.errors import config_error, nearest

ALLOWED = (
    *(ast.Expression, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple),
    *(ast.Compare, ast.cmpop, ast.BoolOp, ast.boolop, ast.UnaryOp, ast.unaryop),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr),
)
KINDS = "comparisons, arithmetic, & | ~ and or not in, column names (`two words` in backticks) and constants"
MEND = """'data.target="ArrDelay > 15"' or another column or expression"""


def evaluate_target(frame: pd.DataFrame, target: object) -> tuple[pd.Series, list[str]]:
    """Evaluate the target; return its values and the columns that it is made of.

    A row in which any of these columns is missing has no target: pandas calls ``NaN > 15`` False, which would
    turn the missing into examples of a class.

    Raises:
        ConfigErrors: where a column is unknown or the expression is not allowed.
    """
    if isinstance(target, int | float) and str(target) in frame.columns:
        target = str(target)  # a column called 3
    if not isinstance(target, str) or not target.strip():
        allowed = f"a column or an expression of columns is needed; columns: {', '.join(frame.columns[:30])}"
        raise config_error("data.target", target, allowed, MEND)
    if target in frame.columns:
        column: Any = frame[target]
        return column, [target]
    source, used = _parse_names(target, list(frame.columns))
    columns = frame[list(used.values())].set_axis(list(used), axis=1)
    try:
        values: Any = columns.eval(source, engine="python")
    except Exception as error:  # pandas raises whatever the operands of the expression do
        raise config_error("data.target", target, f"the expression cannot be evaluated ({error})", MEND) from None
    if not isinstance(values, pd.Series) or len(values) != len(frame):
        raise config_error("data.target", target, "the expression must give one value for each row", MEND)
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
        guess, allowed = nearest(target, known), "this is neither a column nor an expression of columns"
        fix = override_text("data.target", guess) if guess else MEND
        raise config_error("data.target", target, allowed, fix) from None
    for node in ast.walk(tree):
        if not isinstance(node, ALLOWED):
            what = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
            allowed = f"'{what}' is not allowed in an expression; allowed: {KINDS}"
            raise config_error("data.target", target, allowed, MEND)
    found = dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    used = {identifier: quoted.get(identifier, identifier) for identifier in found}
    for name in used.values():
        if name not in known:
            guess = nearest(name, known)
            fix = override_text("data.target", target.replace(name, guess)) if guess else MEND
            allowed = f"there is no column '{name}'; columns: {', '.join(known[:30])}"
            raise config_error("data.target", target, allowed, fix)
    if not used:
        raise config_error("data.target", target, "the expression uses no column", MEND)
    return source, used
