"""Languages: the codes of tasks, their names and scripts, and the codes of MTEB.

A code names a language in task files, recipes, options and results. It is a BCP 47 tag in its shortest form: ``en``,
``bho``, ``zh-Hant``, ``pt-BR``. A script is left out if the language (in that region) is usually written in it, so
``zh-Hans`` is ``zh``, ``sr-Cyrl`` is ``sr``, and ``zh-Hant-TW`` is ``zh-TW``.

To use it::

    parse_code("zho_Hant")              # "zh-Hant": any spelling of a tag, None if it names no language
    get_language("zh-Hant").mteb        # "zho-Hant": an error if the code is unknown or spelled otherwise; see `find`
    read_label("English")               # "en": a value of data that may be anything, so rare codes are not taken
    match_labels(["en-US", "pt-BR"])    # {"en": "en-US", "pt": "pt-BR"}: the code of each label in a data set
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

from hbt_bench import language_tags
from hbt_bench.errors import UsageError, did_you_mean
from hbt_bench.language_tags import Tag

#: The name of the group of languages in resource classes 0 to 2.
LOW_RESOURCE = "low-resource"
#: ISO 639-3 codes of data sets with the code of the language that they usually stand for: a language of a
#: macrolanguage, or a code that was replaced.
_ALIASES = {
    "arb": "ar", "azj": "az", "cmn": "zh", "ekk": "et", "fil": "tl", "gaz": "om", "gug": "gn", "khk": "mn",
    "lvs": "lv", "als": "sq", "nep": "ne", "nob": "no", "ori": "or", "pbt": "ps", "pes": "fa", "plt": "mg",
    "quy": "qu", "quz": "qu", "swh": "sw", "aka": "ak", "uzn": "uz", "ydd": "yi", "zsm": "ms",
}  # fmt: skip
#: Codes of scripts that data sets use for the same letters.
_SAME_SCRIPT = {"Kore": "Hang", "Hira": "Jpan", "Kana": "Jpan", "Hrkt": "Jpan", "Aran": "Arab"}
#: Codes that are other words in data: NaN, "not available", minimum, and the identifier of a document.
_OTHER_WORDS = {"doi", "min", "na", "nan"}
#: Families of Glottolog, which MTEB has, under the names of ``languages.csv``.
_FAMILIES = {
    "Atlantic-Congo": "Niger-Congo", "Mongolic-Khitan": "Mongolic", "Artificial Language": "constructed",
    "Narrow Bantu": "Bantu", "Kwa Volta-Congo": "Kwa",
}  # fmt: skip


@dataclass(frozen=True)
class Language:
    """A language: its `code` in tasks, ISO 639-3 code, ISO 15924 script and English name.

    `resources` is the class of Joshi et al. 2020 ("The State and Fate of Linguistic Diversity and Inclusion in the NLP
    World"), from 0 (left behind) to 5 (winners), or None if they do not list the language. `family` is the family and,
    after a colon, the branch; it is empty if it is unknown.
    """

    code: str
    iso639_3: str
    script: str
    resources: int | None
    family: str
    name: str

    @property
    def mteb(self) -> str:
        """The code in MTEB's form; for example, ``deu-Latn``."""
        return f"{self.iso639_3}-{self.script}"

    @property
    def low_resource(self) -> bool:
        """Whether the language is in the resource classes 0 to 2, with little or no labelled data."""
        return self.resources is not None and self.resources <= 2


def _read(path: Path) -> dict[str, Language]:
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row["code"]: Language(**{**row, "resources": int(row["resources"]) if row["resources"] else None})  # type: ignore[arg-type]
            for row in csv.DictReader(file)
        }


#: The languages of the usual data sets. `find` knows more.
LANGUAGES: dict[str, Language] = _read(Path(__file__).with_name("languages.csv"))
_BY_ISO = {language.iso639_3: code for code, language in LANGUAGES.items()}
#: Names of Glottolog for languages without a family.
_NO_FAMILY = {"Bookkeeping", "Unattested", "Unclassifiable", "Speech Register", "Mixed Language", "Pidgin"}


# Codes


def find(code: str) -> Language | None:
    """Return the language with `code`, or None if it is unknown or not in its shortest form.

    For example, ``find("zh-Hant").name`` is "Chinese (Traditional)", and ``find("zho_Hant")`` is None.
    """
    if code in LANGUAGES:
        return LANGUAGES[code]
    language = _resolve(code)
    return language if language and language.code == code else None


def get_language(code: str) -> Language:
    """Return the language with `code`; raises `UsageError` with a suggestion if the code is unknown.

    For example, ``get_language("de").name`` is "German".
    """
    language = find(code)
    if language is None:
        raise UsageError(unknown_code(code))
    return language


def parse_code(text: str) -> str | None:
    """Return the code for a tag in any usual spelling, or None if it names no language that MTEB has.

    A region and a language of a macrolanguage are kept; `general` drops them. If the usual script of a language is
    unknown, the tag must have one. For example, ``EN``, ``eng`` and ``eng_Latn`` are "en", ``iw`` is "he", ``pt_BR`` is
    "pt-BR", ``zh-Hans-CN`` is "zh-CN", and ``arb`` is "arb".
    """
    language = LANGUAGES.get(text) or _resolve(text)
    return language.code if language else None


@lru_cache(maxsize=4096)
def general(code: str) -> str:
    """Return the code of the language and script of `code`, without region, for the usual name of the language.

    For example, ``pt-BR`` is "pt", ``zh-TW`` is "zh-Hant", ``arb`` is "ar", ``nb`` is "no".
    """
    language = get_language(code)
    usual = _base(_ALIASES.get(language.iso639_3) or _subtag(code)) or language
    return usual.code if language.script == usual.script else f"{usual.code}-{language.script}"


def is_usual(code: str) -> bool:
    """Return whether `LANGUAGES` has the language of `code`, in any script and region; true for "sr-Latn"."""
    return _subtag(general(code)) in LANGUAGES


def from_mteb(label: str) -> str | None:
    """Return the code of a language of MTEB in general form, or None if it has none.

    For example, ``deu-Latn``, ``deu_Latn`` and ``deu`` are "de", and ``arb-Arab`` is "ar".
    """
    code = parse_code(label)
    return general(code) if code else None


def read_label(label: object, rare: bool = False) -> str | None:
    """Return the code for a value or key of a data set, or None if it may be something other than a language.

    A label is a tag, or the English name of a language. A tag of three letters alone may be another word, such as
    "url" and "pos", so it counts only if the language is in `LANGUAGES`, or if `rare` states that the labels are
    languages. With a script or region it always counts.
    """
    if not isinstance(label, str):
        return None
    code = parse_code(label)
    if code is None:
        return _codes_by_name().get(label.strip().lower())
    if re.search("[-_+]", label):
        return code
    return code if label.lower() not in _OTHER_WORDS and (rare or is_usual(code)) else None


def match_labels(labels: Iterable[str], wanted: Container[str] = (), rare: bool = False) -> dict[str, str]:
    """Return the code of each label of a data set, as code to label, sorted.

    Codes are general, such as "pt" for ``pt-BR``, unless the data has other regions of the language too, as in "pt-BR"
    and "pt-PT", or `wanted` has the longer code. Labels that `read_label` does not know are left out. Of several labels
    for a code a single label is used: one without alias, so ``zho`` before ``cmn``, and the code itself before others.

    >>> match_labels(["eng_Latn", "pt-BR", "zh_Hans", "zh_Hant"])
    {'en': 'eng_Latn', 'pt': 'pt-BR', 'zh': 'zh_Hans', 'zh-Hant': 'zh_Hant'}
    """
    known = {label: code for label in labels if (code := read_label(label, rare))}
    regions = defaultdict(set)
    for code in known.values():
        regions[general(code)].add(_without_alias(code))
    matched: dict[str, str] = {}
    for label, code in sorted(known.items(), key=lambda item: _preference(*item)):
        long, short = code if code in wanted else _without_alias(code), general(code)
        is_short = long not in wanted and (short in wanted or len(regions[short]) == 1)
        matched.setdefault(short if is_short else long, label)
    return dict(sorted(matched.items()))


def _preference(label: str, code: str) -> tuple[bool, bool, str]:
    return code != _without_alias(code), label != code, label


def _without_alias(code: str) -> str:
    """Return the code with the usual name of the language: "zh-TW" for "cmn-TW", "no" for "nb", "pt-BR" for itself."""
    usual = _ALIASES.get(get_language(code).iso639_3)
    return (parse_code(usual + code.removeprefix(_subtag(code))) or code) if usual else code


def unknown_code(code: str) -> str:
    """Return the message for a code that `find` does not know, with a suggestion and the form of a code."""
    meant = parse_code(code) or _codes_by_name().get(code.lower())
    if meant:
        return f"unknown language code '{code}'; did you mean '{meant}'?"
    base = _base(code)
    if base:
        return f"unknown language code '{code}': the usual script of {base.name} is unknown, so add it: {code}-Latn"
    return (
        f"unknown language code '{code}'{did_you_mean(code, LANGUAGES) or '.'} A code is a BCP 47 tag of a language of "
        "ISO 639, such as bho, zh-Hant or pt-BR. Map other codes of the data to it: `languages: {bho: CODE}`"
    )


@lru_cache(maxsize=4096)
def _resolve(text: str) -> Language | None:
    """Return the language of a tag in any spelling, with its code in the shortest form."""
    tag = Tag.parse(text)
    base = _base(tag.language) if tag else None
    if tag and base is None and (current := language_tags.replacement(tag.language)):
        base, tag = _base(current.language), replace(tag, script=tag.script or current.script)
    if tag is None or base is None:
        return None
    usual = (tag.region and _script_in(base, tag.region)) or base.script
    script = _same_script(tag.script, base.script) or usual
    if not script:
        return None
    tag = Tag(base.code, "" if script == usual else script, tag.region, tag.variants)
    if str(tag) == base.code:
        return base
    return replace(
        base,
        code=str(tag),
        script=script,
        name=f"{base.name} ({language_tags.describe(tag.script, tag.region, tag.variants)})",
    )


@cache
def _base(subtag: str) -> Language | None:
    """Return the language of a subtag in its usual script, which is empty if it is unknown."""
    iso = LANGUAGES[subtag].iso639_3 if subtag in LANGUAGES else language_tags.iso639_3(subtag)
    if iso is None or iso in _BY_ISO:
        return LANGUAGES[_BY_ISO[iso]] if iso else None
    short = language_tags.iso639_1(iso)
    code = short if short and short not in LANGUAGES else iso
    name = language_tags.names()[iso]
    if iso in _ALIASES:
        return replace(LANGUAGES[_ALIASES[iso]], code=code, iso639_3=iso, name=name)
    script = language_tags.likely_script(code) or language_tags.likely_script(iso)
    if script is None and (current := language_tags.replacement(iso)):
        script = current.script or language_tags.likely_script(current.language)
    return Language(code, iso, script or "", None, _family(iso), name)


def _script_in(base: Language, region: str) -> str | None:
    """Return the script of a language in a region, for example "Hant" for Chinese in Taiwan, if tables have it."""
    usual = _ALIASES.get(base.iso639_3, base.code)
    return language_tags.likely_script(base.code, region) or language_tags.likely_script(usual, region)


def _same_script(script: str, usual: str) -> str:
    """Return the code of languages.csv for a script; ``Hani`` is either form of Chinese, so it is the usual form."""
    if script == "Hani" and usual in ("Hans", "Hant"):
        return usual
    return _SAME_SCRIPT.get(script, script)


def _family(iso639_3: str) -> str:
    """Return family and branch by Glottolog, in the names of ``languages.csv``; for example, "Niger-Congo:Bantu"."""
    levels = [_FAMILIES.get(level, level) for level in language_tags.families(iso639_3)]
    if not levels or levels[0] in _NO_FAMILY:
        return ""
    branches = {language.family.partition(":")[2] for language in LANGUAGES.values()}
    branch = next((level for level in levels[1:] if level in branches), None)
    return f"{levels[0]}:{branch}" if branch else levels[0]


@cache
def _codes_by_name() -> dict[str, str]:
    """Return the codes of `LANGUAGES` by English name in lower case, with those of CLDR, such as "us english"."""
    names = {name.lower(): code for name, tag in language_tags.english_names() if (code := parse_code(tag))}
    known = {name: code for name, code in names.items() if general(code) in LANGUAGES}
    return {**known, **{language.name.lower(): code for code, language in LANGUAGES.items()}}


# Groups
def select(words: Iterable[str], available: Iterable[str], owner: str) -> tuple[str, ...]:
    """Return the languages that `words` name, in the order of `available`.

    A word is a code in any spelling, or a group of languages: ``low-resource``, ``script:Arab``, ``family:Bantu``.
    Raises `UsageError` if a word names no language of `owner`, such as a task.
    """
    available = tuple(available)
    selected: set[str] = set()
    for word in words:
        group = _group(word, available)
        code = word if word in available else parse_code(word)
        if group == ():
            raise UsageError(f"{owner} has no language of '{word}' (it has {' '.join(available)})")
        if group is None and code not in available:
            raise UsageError(
                f"{owner} has no language '{word}'{_suggestion(word, available)} (it has {' '.join(available)})"
            )
        selected.update(group or [str(code)])
    return tuple(code for code in available if code in selected)


def _suggestion(word: str, available: tuple[str, ...]) -> str:
    """Return a hint about the available languages that `word` may mean: by name, or in another script or region."""
    names = {language.name.lower(): code for code in available if (language := find(code))}
    meant = names.get(word.lower()) or parse_code(word)
    related = [code for code in available if meant and find(code) and _same_language(code, meant)]
    if related:
        return "; did you mean " + " or ".join(f"'{code}'" for code in related) + "?"
    return did_you_mean(word, available)


def _same_language(code: str, other: str) -> bool:
    return _subtag(general(code)) == _subtag(general(other))


def _subtag(code: str) -> str:
    return code.partition("-")[0]


def _group(word: str, available: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the available languages of a group, or None if `word` is not the name of a group."""
    languages = [language for code in available if (language := find(code))]
    if word == LOW_RESOURCE:
        return tuple(language.code for language in languages if language.low_resource)
    kind, colon, name = word.partition(":")
    if not colon or kind not in ("script", "family"):
        return None
    groups = {group for language in [*LANGUAGES.values(), *languages] for group in _groups_of(language, kind)}
    if name.lower() not in {group.lower() for group in groups}:
        raise UsageError(
            f"unknown {kind} '{name}'{did_you_mean(name, groups) or '; known are, for example, Arab, Bantu'}"
        )
    return tuple(
        language.code
        for language in languages
        if name.lower() in {group.lower() for group in _groups_of(language, kind)}
    )


def _groups_of(language: Language, kind: str) -> list[str]:
    return [language.script] if kind == "script" else language.family.split(":")
