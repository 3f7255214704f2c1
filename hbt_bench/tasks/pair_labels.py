"""The labels of rows that may name two languages: ``en-de`` is English in Germany, or English and German.

Such a label is read as a pair of languages, or as a locale, only if the data leave no doubt of it. Otherwise the key
`language_form` decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from hbt_bench.data.language_pairs import LabelForm, pair_splits
from hbt_bench.errors import DataError
from hbt_bench.languages import general, get_language, is_official, read_label

if TYPE_CHECKING:
    import regex

#: The number of rows of each label in which scripts are compared.
_ROWS = 50
#: The scripts of Unicode for a script of languages that combines several, or is a part of a script.
_UNICODE = {"Hans": "Hani", "Hant": "Hani", "Jpan": "Hani Hira Kana", "Hang": "Hang Hani", "Kore": "Hang Hani"}


class LabelledRow(NamedTuple):
    """The label of a row, its query, the text of its documents, and the languages in its other columns by name."""

    label: str
    query: str
    document: str
    others: Mapping[str, str]


@dataclass(frozen=True)
class PairLabels:
    """The labels with the form of a pair, by their two languages.

    `certain` labels are not locales, as ``en-zh``, because ZH is not a region. `usual` labels are locales in
    which the language is official, as ``pt-br``, so they are pairs only if others are. All others are in doubt.
    """

    separator: str
    halves: Mapping[str, tuple[str, str]]
    certain: frozenset[str]
    usual: frozenset[str]
    counts: Mapping[str, int]

    @classmethod
    def detect(cls, counts: Mapping[str, int]) -> PairLabels | None:
        """Return the labels of a column, or None if none has the form of a pair; `counts` are the rows of each."""
        by_separator: dict[str, dict[str, tuple[str, str]]] = {}
        for label in counts:
            for first, separator, second in list(pair_splits(label))[:1]:
                code = read_label(label, rare=True)
                if code is None or code.endswith(f"-{second.upper()}"):  # "zh-yue" is the language yue
                    by_separator.setdefault(separator, {})[label] = first, second
        if not by_separator:
            return None
        separator, halves = max(by_separator.items(), key=lambda item: sum(counts[label] for label in item[1]))
        certain, usual = set(), set()
        for label, (first, second) in halves.items():
            if is_official(str(read_label(first)), second.upper()):
                usual.add(label)
            elif read_label(label, rare=True) is None:
                certain.add(label)
        return cls(separator, halves, frozenset(certain), frozenset(usual), counts)

    @property
    def doubtful(self) -> list[str]:
        """The labels that are pairs, or locales in which the language is not official."""
        return sorted(self.halves.keys() - self.usual)

    def form(self, rows: Iterable[LabelledRow], column: str) -> tuple[LabelForm | None, str]:
        """Return the form of the labels, None for locales, and a note with the reason.

        Raises `DataError` if the data do not show it. `column` names it in messages.
        """
        evidence = _LabelEvidence.read(self, rows)
        position, reason = evidence.position
        if not reason and self.certain and not self._has_locale:
            reason = f"for example {min(self.certain)} is not a locale"
        if reason and not evidence.locales:
            form = LabelForm(self.separator, position or 0)
            other = LabelForm(self.separator, 1 - form.position)
            note = f"the labels in {column} are pairs of languages, read as {form}, because {reason}"
            if position is None:
                note += f"; if the language of the documents comes first, use --columns 'language_form={other}'"
            return form, note
        if evidence.locales or self.are_locales:
            return None, ""
        raise DataError(in_doubt(self, column))

    @property
    def are_locales(self) -> bool:
        """Whether the labels are locales by their spelling. A few others, such as en-zh, are unknown languages."""
        undecided = set() if self._has_locale else set(self.doubtful) - self.certain
        return not undecided and not self._are_most(self.certain)

    @property
    def _has_locale(self) -> bool:
        """Whether a label is a locale without doubt, as en-US and pt-BR, so that its neighbours are locales too."""
        others = (read_label(label, rare=True) for label in self.counts if label not in self.halves)
        return any(code and code[-2:].isupper() for code in others) or any(
            self.halves[label][1].isupper() > self.halves[label][0].isupper() for label in self.usual
        )

    def _are_most(self, labels: Iterable[str]) -> bool:
        """Return whether most rows have any of the labels."""
        return 2 * sum(self.counts[label] for label in labels) > sum(self.counts.values())


def in_doubt(labels: PairLabels, column: str) -> str:
    """Return the message for labels that may be pairs or locales."""
    listed = ", ".join(f"'{label[:30]}'" for label in labels.doubtful[:3])
    return (
        f"the labels in {column} may be locales or pairs of languages, for example {listed}: use "
        f"--columns 'language_form={LabelForm(labels.separator)}' for pairs with the language of the query first, "
        "or --columns 'language_form={language}' for locales"
    )


@dataclass(frozen=True)
class _LabelEvidence:
    """The signs in the rows, by the position of the query language that they show.

    `scripts` count rows with query and document in the scripts of the two languages, and `locales` rows with both
    in the script of the first language. `shared` are texts that labels with the same second language share, which
    locales of different languages cannot, and `order` those that labels with the same first language share. `named`
    counts rows with the language of the documents in another column.
    """

    scripts: Counter[int]
    locales: int
    shared: list[int]
    order: list[int]
    named: Counter[int]

    @classmethod
    def read(cls, labels: PairLabels, rows: Iterable[LabelledRow]) -> _LabelEvidence:
        """Collect the signs."""
        scripts: Counter[int] = Counter()
        named: Counter[int] = Counter()
        counts: Counter[str] = Counter()
        queries: dict[str, dict[str, str]] = {}  # query -> label -> documents
        documents: dict[str, dict[str, str]] = {}  # documents -> label -> query
        locales = 0
        for row in rows:
            if (halves := labels.halves.get(row.label)) is None:
                continue
            counts[row.label] += 1
            queries.setdefault(row.query, {})[row.label] = row.document
            documents.setdefault(row.document, {})[row.label] = row.query
            if counts[row.label] <= _ROWS:
                position = _position_by_script(halves, row)
                scripts.update([position] if position is not None else [])
                locales += row.label not in labels.certain and _is_locale_by_script(halves, row)
                named.update(_positions_by_name(halves, row))
        by_second = [
            position
            for position, texts in ((0, documents), (1, queries))
            if _is_shared(texts, {label: pair[1] for label, pair in labels.halves.items()})
        ]
        by_first = [
            position
            for position, texts in ((0, queries), (1, documents))
            if _is_shared(texts, {label: pair[0] for label, pair in labels.halves.items()})
        ]
        return cls(scripts, 0 if scripts else locales, by_second, by_first, named)

    @property
    def position(self) -> tuple[int | None, str]:
        """The position of the query language, None if it is not known, and the reason for pairs, "" if there is none.

        Signs that contradict each other are no reason.
        """
        signs = (
            (list(self.scripts), "queries and documents are in the scripts of the two languages"),
            (self.shared, "labels with the second language in common share texts"),
            (list(self.named), "another column has the second language too"),
        )
        shown = [(positions[0], reason) for positions, reason in signs if len(set(positions)) == 1]
        if any(len(set(positions)) > 1 for positions, _ in signs) or len({position for position, _ in shown}) > 1:
            return None, ""
        if shown:
            return shown[0]
        return (self.order[0] if len(self.order) == 1 else None), ""


def _is_shared(texts: Mapping[str, Mapping[str, str]], half: Mapping[str, str]) -> bool:
    """Return whether labels with an equal half share most texts, each with another counterpart."""
    labels: dict[str, set[str]] = {}
    for label, language in half.items():
        labels.setdefault(language, set()).add(label)
    candidates = [by_label for by_label in texts.values() if any(len(labels[half[label]]) > 1 for label in by_label)]
    shared = 0
    for by_label in candidates:
        counterparts: dict[str, set[str]] = {}
        for label, other in by_label.items():
            counterparts.setdefault(half[label], set()).add(other)
        shared += any(len(others) > 1 for others in counterparts.values())
    # a text of L labels is counted once, so that half of the texts need not be in all of them
    return 2 * shared > len(candidates) > 0


def _script(label: str) -> str:
    return get_language(general(str(read_label(label)))).script


def _position_by_script(halves: tuple[str, str], row: LabelledRow) -> int | None:
    """Return the position of the query language by the scripts of query and document, or None."""
    first, second = map(_script, halves)
    for position, (query, document) in enumerate([(first, second), (second, first)]):
        if (
            _is_in(row.query, query)
            and not _is_in(row.query, document)
            and _is_in(row.document, document)
            and not _is_in(row.document, query)
        ):
            return position
    return None


def _is_locale_by_script(halves: tuple[str, str], row: LabelledRow) -> bool:
    """Return whether query and document are in the script of the first language, which the second has not."""
    first, second = map(_script, halves)
    return all(_is_in(text, first) and not _is_in(text, second) for text in (row.query, row.document))


def _positions_by_name(halves: tuple[str, str], row: LabelledRow) -> list[int]:
    """Return the position of the query language by columns such as "passage_lang" that have the second language."""
    first, second = map(read_label, halves)
    if first == second:
        return []
    positions = []
    for name, value in row.others.items():
        is_query = any(word in name.lower() for word in ("query", "question", "source", "src"))
        is_document = any(word in name.lower() for word in ("doc", "passage", "answer", "context", "target", "tgt"))
        if is_query != is_document and read_label(value) == second:
            positions.append(1 if is_query else 0)
    return positions


def _is_in(text: str, script: str) -> bool:
    """Return whether most letters of a text are in a script."""
    letters, script_letters = _patterns(script)
    return 2 * len(script_letters.findall(text)) > len(letters.findall(text))


@cache
def _patterns(script: str) -> tuple[regex.Pattern[str], regex.Pattern[str]]:
    import regex  # slow to import

    names = "".join(rf"\p{{scx={name}}}" for name in _UNICODE.get(script, script).split())
    return regex.compile(r"\p{L}"), regex.compile(rf"(?V1)[\p{{L}}&&[{names}]]")
