"""What a person typed wrong, said so that it can be mended."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Mistake:
    """One wrong setting.

    Attributes:
        key: configuration key, e.g. ``batch_size``.
        value: the value that was got, as typed; empty where only the key is to blame.
        allowed: what is allowed, a clause that follows "is not allowed:".
        mend: the override to type instead, e.g. ``batch_size=32``.
    """

    key: str
    value: object
    allowed: str
    mend: str

    def __str__(self) -> str:
        typed = self.key if self.value == "" else f"{self.key}={self.value}"
        return f"{typed}: {self.allowed}. Type {self.mend}"


class WrongInput(ValueError):
    """The configuration or the data is wrong; carries every mistake that was found.

    Raised by whatever reads user input (data loaders, models, rules); the pre-flight collects them.
    """

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


def wrong(key: str, value: object, allowed: str, mend: str) -> WrongInput:
    """The error for one wrong setting; see `Mistake` for the four parts."""
    return WrongInput(Mistake(key, value, allowed, mend))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be, or None."""
    matches = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None
