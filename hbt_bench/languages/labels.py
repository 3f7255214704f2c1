"""The labels of languages in data: whether a value is a language, and the code of each label of a data set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable

from hbt_bench.languages.table import ALIASES, codes_by_name, general, get_language, is_usual, parse_code, subtag
from hbt_bench.languages.tags import Tag, has_locale

#: Codes that are other words in data: NaN, "not available", minimum, and the identifier of a document. With a script,
#: such as "min_Latn", they are languages.
_OTHER_WORDS = {"doi", "min", "na", "nan"}


def read_label(label: object, rare: bool = False) -> str | None:
    """Return the code for a value or key of a data set, or None if it may be something other than a language.

    A label is a tag, or the English name of a language. Without a script, a tag may be something else, such as "pos",
    or "id_de", the id of a German text. So it counts only if the language is in `LANGUAGES`, and if the region is in
    upper case or CLDR has it for the language, or if `rare` states that the labels are languages.
    """
    if not isinstance(label, str) or label.lower() in _OTHER_WORDS:
        return None
    code, tag = parse_code(label), Tag.parse(label)
    if code is None or tag is None:
        return codes_by_name().get(label.strip().lower())
    certain = is_usual(code) and (tag.region in label or has_locale(code, get_language(code).script, tag.region))
    return code if rare or tag.script or certain else None


def match_labels(labels: Iterable[str], wanted: Container[str] = (), rare: bool = False) -> dict[str, str]:
    """Return the code of each label of a data set, as code to label, sorted.

    Codes are general, such as "pt" for ``pt-BR``, unless the data has other regions of the language too, as in "pt-BR"
    and "pt-PT", or `wanted` has the longer code. Labels that `read_label` does not know are left out. Of several labels
    for a code a single label is used: one without alias, so ``zho`` before ``cmn``, and the code itself before others.

    >>> match_labels(["eng_Latn", "pt-BR", "zh_Hans", "zh_Hant"])
    {'en': 'eng_Latn', 'pt': 'pt-BR', 'zh': 'zh_Hans', 'zh-Hant': 'zh_Hant'}
    """
    codes = {label: code for label in labels if (code := read_label(label, rare))}
    regions = defaultdict(set)
    for code in codes.values():
        regions[general(code)].add(_without_alias(code))
    matched: dict[str, str] = {}
    for label, code in sorted(codes.items(), key=lambda item: _preference(*item)):
        long, short = code if code in wanted else _without_alias(code), general(code)
        is_short = long not in wanted and (short in wanted or len(regions[short]) == 1)
        matched.setdefault(short if is_short else long, label)
    return dict(sorted(matched.items()))


def _preference(label: str, code: str) -> tuple[bool, bool, str]:
    return code != _without_alias(code), label != code, label


def _without_alias(code: str) -> str:
    """Return the code with the usual name of the language: "zh-TW" for "cmn-TW", "no" for "nb", "pt-BR" for itself."""
    usual = ALIASES.get(get_language(code).iso639_3)
    return (parse_code(usual + code.removeprefix(subtag(code))) or code) if usual else code
