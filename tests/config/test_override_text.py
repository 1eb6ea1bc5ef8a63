"""What a message tells a person to type is read as the value that it stands for."""

import shlex

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hypothesis import given
from hypothesis import strategies as st

from batchlab.config.override_text import override_text

WORDS = [
    "a",
    "3",
    "0.1",
    "null",
    "true",
    "petal length (cm)",
    "a,b",
    'say "hi"',
    "a\\",
    'a\\"b',
    "",
    "[x]",
    "a=b",
    "it's",
]
TEXT = st.one_of(st.sampled_from(WORDS), st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=8))
VALUES = st.one_of(TEXT, st.none(), st.booleans(), st.integers(), st.lists(TEXT, max_size=3))


def plain(value):
    if isinstance(value, list):
        return [plain(each) for each in value]
    text = value.text if isinstance(value, QuotedString) else value
    return text.replace("\\${", "${") if isinstance(text, str) else text


@given(VALUES)
def test_an_override_is_read_as_its_value(value):
    (word,) = shlex.split(override_text("data.drop", value))
    assert plain(OverridesParser.create().parse_override(word).value()) == value


def test_text_that_needs_no_quotes_has_none():
    assert override_text("data.path", "tables/flights.csv.gz") == "data.path=tables/flights.csv.gz"
    assert override_text("data.drop", ["when", "petal length (cm)"]) == "'data.drop=[when,\"petal length (cm)\"]'"
