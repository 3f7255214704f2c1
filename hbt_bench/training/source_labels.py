"""The languages of records: which codes of the data are read, and under which of our codes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from hbt_bench.errors import DataError
from hbt_bench.languages import general, match_labels, read_label, unknown_code
from hbt_bench.tasks.pair_labels import PairLabels

log = logging.getLogger(__name__)

_ADVICE = "map codes in the recipe, as in `languages: {en: english}`"


class Labels:
    """The labels of a source, which are the codes of languages in its data.

    `explicit` are the labels of the codes that the source names. If it chooses some (`chosen`), others are not read.
    `preferred` are the codes of the recipe: a label "pt-BR" keeps its region if the recipe has it.
    For example, ``Labels("faq", {"en": "english"}, {"en"}).is_wanted("english")``.
    """

    def __init__(
        self, name: str, explicit: Mapping[str, str], chosen: Sequence[str], preferred: Sequence[str] = ()
    ) -> None:
        self._name, self._explicit, self._chosen, self._preferred = name, explicit, chosen, preferred
        self._counts: dict[str, int] = {}
        self._first: dict[str, str] = {}  # the position of the first record in each language
        self._wanted: dict[str, bool] = {}
        self._without = 0

    def count(self, label: str | None, position: str) -> None:
        """Count a record in a language, or without a language."""
        if label is None:
            self._without += 1
            return
        self._counts[label] = self._counts.get(label, 0) + 1
        self._first.setdefault(label, position)

    def is_wanted(self, label: str) -> bool:
        """Return whether a label may stand for a language to read."""
        if label not in self._wanted:
            code = read_label(label, rare=True)
            named = label in self._explicit.values() or (code and {code, general(code)} & set(self._chosen))
            self._wanted[label] = bool(named or not self._chosen)
        return self._wanted[label]

    def codes(self) -> dict[str, str]:
        """Return our code for each label that is read; log the records that are left out.

        Raises `DataError` with the position if no label is known or chosen.
        """
        codes = {label: code for code, label in self._explicit.items() if label in self._counts}
        others = [label for label in self._counts if label not in codes]
        for code, label in match_labels(others, wanted={*self._explicit, *self._preferred}, rare=True).items():
            if code not in codes.values() and (not self._chosen or code in self._chosen):
                codes |= {name: code for name in others if name == label or _is_spelling(name, label)}
        if not codes:
            self._raise()
        self._check_pairs(codes)
        self._report_spellings(codes)
        self._warn([label for label in others if label not in codes and self.is_wanted(label)])
        missing = [code for code in self._chosen if code not in codes.values()]
        if missing:
            log.warning(
                f"{self._name} has no records in {' '.join(missing)} (the codes in the data are {self._shown()})"
            )
        return codes

    def _check_pairs(self, codes: Mapping[str, str]) -> None:
        """Raise `DataError` for a label such as "en-de", which may be a locale or name two languages."""
        pairs = PairLabels.detect(self._counts)
        if pairs is None:
            return
        for label in pairs.doubtful:
            if label in codes and label.islower() and label not in self._explicit.values():
                first, second = pairs.halves[label]
                example = f'{{"texts": {{"{first}": ..., "{second}": ...}}}}'
                raise DataError(
                    f"{self._first[label]} has the code '{label}': for texts in {first} and {second}, write records "
                    f"with texts by language, as {example}; for a region, set `languages: {{{codes[label]}: {label}}}`"
                )

    def _report_spellings(self, codes: Mapping[str, str]) -> None:
        """Log the codes that the data spell in several ways."""
        for code in dict.fromkeys(codes.values()):
            labels = [f"'{label}' ({self._counts[label]:,})" for label, other in codes.items() if other == code]
            if len(labels) > 1:
                log.info(f"{self._name}: {' and '.join(labels)} are read as {code}; {_ADVICE}, to read a single code")

    def _warn(self, left_out: list[str]) -> None:
        records = [f"'{label}' ({self._counts[label]:,})" for label in left_out]
        records += [f"no language ({self._without:,})"] if self._without else []
        if records:
            log.warning(f"{self._name}: left out records in {', '.join(records)}; {_ADVICE}")

    def _raise(self) -> None:
        if not self._counts:
            raise DataError(f"{self._name} has no record with a language: check `language_field`")
        if self._chosen:
            raise DataError(
                f"{self._name} has no records in {' '.join(self._chosen)}: the codes in the data are {self._shown()}; "
                f"{_ADVICE}"
            )
        label, position = next(iter(self._first.items()))
        raise DataError(f"{position} has the {unknown_code(label)}")

    def _shown(self) -> str:
        return ", ".join(f"'{label}'" for label in list(self._counts)[:8])


def _is_spelling(label: str, other: str) -> bool:
    """Return whether two labels are the same code, such as "EN", "eng" and "English"."""
    code = read_label(label, rare=True)
    return code is not None and code == read_label(other, rare=True)
