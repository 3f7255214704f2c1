"""The table of languages, and the language of a code in any spelling."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

from hbt_bench.errors import UsageError, did_you_mean
from hbt_bench.languages import tags
from hbt_bench.languages.tags import Tag

#: ISO 639-3 codes of data sets with the code of the language that they usually stand for: a language of a
#: macrolanguage, or a code that was replaced.
ALIASES = {
    "arb": "ar", "azj": "az", "cmn": "zh", "ekk": "et", "fil": "tl", "gaz": "om", "gug": "gn", "khk": "mn",
    "lvs": "lv", "als": "sq", "nep": "ne", "nob": "no", "ori": "or", "pbt": "ps", "pes": "fa", "plt": "mg",
    "quy": "qu", "quz": "qu", "swh": "sw", "aka": "ak", "uzn": "uz", "ydd": "yi", "zsm": "ms",
}  # fmt: skip
#: Codes of scripts that data sets use for the same letters.
_SAME_SCRIPT = {"Kore": "Hang", "Hira": "Jpan", "Kana": "Jpan", "Hrkt": "Jpan", "Aran": "Arab"}
#: Families of Glottolog, which MTEB has, under the names of ``languages.csv``.
_FAMILIES = {
    "Atlantic-Congo": "Niger-Congo", "Mongolic-Khitan": "Mongolic", "Artificial Language": "constructed",
    "Narrow Bantu": "Bantu", "Kwa Volta-Congo": "Kwa",
}  # fmt: skip
#: Names of Glottolog for languages without a family.
_NO_FAMILY = {"Bookkeeping", "Unattested", "Unclassifiable", "Speech Register", "Mixed Language", "Pidgin"}


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
    usual = _base(ALIASES.get(language.iso639_3) or subtag(code)) or language
    return usual.code if language.script == usual.script else f"{usual.code}-{language.script}"


def is_usual(code: str) -> bool:
    """Return whether `LANGUAGES` has the language of `code`, in any script and region; true for "sr-Latn"."""
    return subtag(general(code)) in LANGUAGES


def is_official(code: str, region: str) -> bool:
    """Return whether the language of `code` is official in a region, in any script.

    For example, ``is_official("pt", "BR")`` is true, and ``is_official("en", "DE")`` is false.
    """
    official = filter(None, map(parse_code, tags.official_languages(region)))
    return any(subtag(general(other)) == subtag(general(code)) for other in official)


def from_mteb(label: str) -> str | None:
    """Return the code of a language of MTEB in general form, or None if it has none.

    For example, ``deu-Latn``, ``deu_Latn`` and ``deu`` are "de", and ``arb-Arab`` is "ar".
    """
    code = parse_code(label)
    return general(code) if code else None


def unknown_code(code: str) -> str:
    """Return the message for a code that `find` does not know, with a suggestion and the form of a code."""
    meant = parse_code(code) or codes_by_name().get(code.lower())
    if meant:
        return f"unknown language code '{code}'; did you mean '{meant}'?"
    base = _base(code)
    if base:
        return f"unknown language code '{code}': the usual script of {base.name} is unknown, so add it: {code}-Latn"
    similar = did_you_mean(code, LANGUAGES) if len(code) <= 4 else ""
    return (
        f"unknown language code '{code}'{similar or '.'} A code is a BCP 47 tag of a language of ISO 639, such as bho, "
        "zh-Hant or pt-BR. Map other codes of the data to it: `languages: {bho: CODE}`"
    )


def subtag(code: str) -> str:
    """Return the language of a code without its script and region."""
    return code.partition("-")[0]


@cache
def codes_by_name() -> dict[str, str]:
    """Return the codes of `LANGUAGES` by English name in lower case, with those of CLDR, such as "american english"."""
    names = {name.lower(): code for name, tag in tags.english_names() if (code := parse_code(tag))}
    usual = {name: code for name, code in names.items() if is_usual(code)}
    return {**usual, **{language.name.lower(): code for code, language in LANGUAGES.items()}}


# Tags


@lru_cache(maxsize=4096)
def _resolve(text: str) -> Language | None:
    """Return the language of a tag in any spelling, with its code in the shortest form."""
    tag = Tag.parse(text)
    base = _base(tag.language) if tag else None
    if tag and base is None and (current := tags.replacement(tag.language)):
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
        name=f"{base.name} ({tags.describe(tag.script, tag.region, tag.variants)})",
    )


@cache
def _base(language: str) -> Language | None:
    """Return the language of a subtag in its usual script, which is empty if it is unknown."""
    iso = LANGUAGES[language].iso639_3 if language in LANGUAGES else tags.iso639_3(language)
    if iso is None or iso in _BY_ISO:
        return LANGUAGES[_BY_ISO[iso]] if iso else None
    short = tags.iso639_1(iso)
    code = short if short and short not in LANGUAGES else iso
    name = tags.names()[iso]
    if iso in ALIASES:
        return replace(LANGUAGES[ALIASES[iso]], code=code, iso639_3=iso, name=name)
    script = tags.likely_script(code) or tags.likely_script(iso)
    if script is None and (current := tags.replacement(iso)):
        script = current.script or tags.likely_script(current.language)
    return Language(code, iso, script or "", None, _family(iso), name)


def _script_in(base: Language, region: str) -> str | None:
    """Return the script of a language in a region, for example "Hant" for Chinese in Taiwan, if tables have it."""
    usual = ALIASES.get(base.iso639_3, base.code)
    return tags.likely_script(base.code, region) or tags.likely_script(usual, region)


def _same_script(script: str, usual: str) -> str:
    """Return the code of languages.csv for a script; ``Hani`` is either form of Chinese, so it is the usual form."""
    if script == "Hani" and usual in ("Hans", "Hant"):
        return usual
    return _SAME_SCRIPT.get(script, script)


def _family(iso639_3: str) -> str:
    """Return family and branch by Glottolog, in the names of ``languages.csv``; for example, "Niger-Congo:Bantu"."""
    levels = [_FAMILIES.get(level, level) for level in tags.families(iso639_3)]
    if not levels or levels[0] in _NO_FAMILY:
        return ""
    branches = {language.family.partition(":")[2] for language in LANGUAGES.values()}
    branch = next((level for level in levels[1:] if level in branches), None)
    return f"{levels[0]}:{branch}" if branch else levels[0]
