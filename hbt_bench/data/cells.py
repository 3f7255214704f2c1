"""Lists and mappings that are written as text, as pandas writes them into the cells of a table."""

from __future__ import annotations

import ast
import logging
import warnings
from collections import Counter, defaultdict

from hbt_bench.data.row_fields import USUAL_FIELDS
from hbt_bench.errors import DataError

log = logging.getLogger(__name__)

#: Names in mappings that hold a text, in files of DPR, SQuAD, MS MARCO and BEIR.
_TEXT_NAMES = frozenset(
    {"text", "texts", "passage_text", "contents", *USUAL_FIELDS["document"], *USUAL_FIELDS["query"]}
)
#: Missing values in a list that JSON, Python or numpy wrote.
_MISSING_NAMES = frozenset({"nan", "NaN", "null", "None"})


class WrittenStructures:
    """Counts the texts of each field that are a list or a mapping written as text.

    For example::

        written = WrittenStructures("faq")
        written.add("answer", "['Ann.', 'Bob.']")
        written.check()  # DataError: faq has lists written as text in 'answer', such as ...
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._first: dict[str, str] = {}
        self._counts: dict[str, Counter[bool]] = defaultdict(Counter)

    def add(self, field: str, text: str) -> None:
        """Count a text of a field."""
        is_structure = _is_structure(text)
        self._counts[field][is_structure] += 1
        if is_structure:
            self._first.setdefault(field, text)

    def check(self) -> None:
        """Raise `DataError` for a field whose texts are all structures; warn of a field with some."""
        for field, text in self._first.items():
            kind, columns = ("lists", "each text") if text.strip()[0] in "[(" else ("mappings", "the text")
            counts = self._counts[field]
            shown = f"{self.name} has {kind} written as text in '{field}', such as {text:.60}"
            advice = f"write JSON lines with {kind}, or a column for {columns}"
            if not counts[False]:
                raise DataError(f"{shown}: {advice}")
            log.warning(f"{shown} ({counts[True]:,} of {counts.total():,} texts), and reads them as texts: {advice}")


def _is_structure(text: str) -> bool:
    """Return whether a text is a list of texts, or a mapping with texts, as JSON, Python or numpy writes it.

    Tables of pandas have such cells. A mapping without a usual name of a text may be a text that is JSON.
    """
    text = text.strip()
    if text[:1] + text[-1:] not in ("[]", "{}", "()"):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that JSON has and Python lacks
            tree = ast.parse(text, mode="eval").body
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return _has_texts(tree)


def _has_texts(node: ast.expr) -> bool:
    """Return whether an expression is a list of texts, of missing values and of mappings, or a mapping with texts."""
    if isinstance(node, ast.Dict):
        names = {key.value for key in node.keys if isinstance(key, ast.Constant)}
        return len(names) == len(node.keys) and not names.isdisjoint(_TEXT_NAMES)
    members = node.elts if isinstance(node, ast.List | ast.Tuple | ast.Set) else [None]
    return all(
        (isinstance(member, ast.Constant) and isinstance(member.value, str | None))
        or (isinstance(member, ast.Name) and member.id in _MISSING_NAMES)
        or (isinstance(member, ast.Dict | ast.List | ast.Tuple) and _has_texts(member))
        for member in members
    )
