"""Tags of languages as people write them (BCP 47, FLORES, POSIX, Android), and the tables of MTEB and CLDR.

A tag is parsed without any knowledge of the languages of tasks; for those, see `hbt_bench.languages`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from babel import Locale, localedata
from babel.core import get_global

#: The subtags of BCP 47 in their order, in lower case. Extensions and private use are dropped.
_TAG = re.compile(
    r"(?P<language>[a-z]{2,3})(?P<extended>(?:-[a-z]{3})*)(?:-(?P<script>[a-z]{4}))?(?:-(?P<region>[a-z]{2}|\d{3}))?"
    r"(?P<variants>(?:-(?:[a-z0-9]{5,8}|\d[a-z0-9]{3}))*)(?:-[a-wyz0-9](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?"
)
#: Other forms of locales: ``sr_RS.UTF-8@latin`` of POSIX, ``pt-rBR`` and ``b+sr+Latn`` of Android.
_POSIX = re.compile(r"(?P<tag>[A-Za-z]{2,3}(?:_[A-Za-z]{2})?)(?:\.[\w-]+)?(?:@(?P<modifier>\w+))?")
_ANDROID_REGION = re.compile(r"(?<=^[a-z]{2}-)r(?=[A-Z]{2}$)|(?<=^[a-z]{3}-)r(?=[A-Z]{2}$)")
_MODIFIERS = {"latin": "-Latn", "cyrillic": "-Cyrl", "arabic": "-Arab", "devanagari": "-Deva"}
#: Languages that are written after the code of Chinese too, as in ``zh-yue``.
_EXTENDED = {"cdo", "cjy", "cmn", "cpx", "czh", "czo", "gan", "hak", "hsn", "lzh", "mnp", "nan", "wuu", "yue"}
#: The code of ISO 639 for text of unknown language, which MTEB accepts.
_NO_LANGUAGE = {"und"}


@dataclass(frozen=True)
class Tag:
    """The subtags of a tag: `language` in lower case, `script` as "Hant", `region` as "TW" or "419", `variants`."""

    language: str
    script: str = ""
    region: str = ""
    variants: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Tag | None:
        """Read a tag, or return None for text that has not its form, or a script, region or variant that CLDR lacks.

        For example, ``zh_hant``, ``zh-Hant`` and ``b+zh+Hant`` are ``Tag("zh", "Hant")``.
        """
        match = _TAG.fullmatch(_hyphenated(text))
        if match is None:
            return None
        language, script, region = match["language"], (match["script"] or "").title(), (match["region"] or "").upper()
        variants = tuple(filter(None, match["variants"].split("-")))
        if match["extended"]:
            extended = match["extended"].split("-")[-1]
            if language != "zh" or extended not in _EXTENDED:
                return None
            language = extended
        if (script and script not in scripts()) or (region and not _is_region(region)):
            return None
        return cls(language, script, region, variants) if _variants().issuperset(variants) else None

    def __str__(self) -> str:
        return "-".join(filter(None, (self.language, self.script, self.region, *self.variants)))


def _hyphenated(text: str) -> str:
    """Return a locale of another form as a tag, in lower case."""
    text = text.strip()
    if text.startswith("b+"):
        text = text[2:].replace("+", "-")
    elif (posix := _POSIX.fullmatch(text)) and posix["tag"] != text:
        modifier = posix["modifier"] or ""
        language, _, region = posix["tag"].partition("_")
        script = _MODIFIERS.get(modifier, "")
        variant = f"-{modifier}" if modifier.upper() in _english().variants else ""
        text = f"{language}{script}{'-' if region else ''}{region}{variant}"
    return _ANDROID_REGION.sub("", text.replace("_", "-")).lower()


@cache
def _english() -> Locale:
    return Locale("en")


@cache
def _variants() -> frozenset[str]:
    return frozenset(variant.lower() for variant in _english().variants)


def _is_region(region: str) -> bool:
    return region in _english().territories or region in get_global("territory_aliases")


@cache
def _mteb_table(name: str) -> dict[str, Any]:
    """Return a table of MTEB's, from its file, because to import MTEB takes seconds.

    It is empty for a version of MTEB that keeps it elsewhere: then only the languages of ``languages.csv`` are known.
    """
    spec = find_spec("mteb")
    if spec is None or spec.origin is None:
        return {}
    path = Path(spec.origin).parent / "languages" / f"{name}.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError:
        return {}


def scripts() -> dict[str, str]:
    """Return the names of the scripts that MTEB accepts, by ISO 15924 code."""
    return _mteb_table("iso_15924_to_script") or {code: code for code in _english().scripts}


def names() -> dict[str, str]:
    """Return the English names of the languages that MTEB accepts, by ISO 639-3 code."""
    return _mteb_table("iso_639_3_to_language")


def families(iso639_3: str) -> tuple[str, ...]:
    """Return the family of a language and its branches by Glottolog, from the largest, empty if it is not known."""
    return tuple(_mteb_table("language_family").get(iso639_3, {}).values())


def english_names() -> list[tuple[str, str]]:
    """Return CLDR's English names with the tags that they name, for example ("Brazilian Portuguese", "pt_BR")."""
    return [(name, tag) for tag, name in _english().languages.items()]


def iso639_3(language: str) -> str | None:
    """Return the ISO 639-3 code of a language subtag, or None if MTEB has none; for example, "lat" for "la"."""
    if len(language) == 2:
        return _mteb_table("iso_639_1_to_3").get(language)
    return language if language in names() and language not in _NO_LANGUAGE else None


@cache
def _short_codes() -> dict[str, str]:
    return {long: short for short, long in _mteb_table("iso_639_1_to_3").items()}


def iso639_1(language: str) -> str | None:
    """Return the code of two letters for an ISO 639-3 code, or None if there is none."""
    return _short_codes().get(language)


def replacement(language: str) -> Tag | None:
    """Return the tag that CLDR has in the place of an old subtag: "he" for "iw", "sr-Latn" for "sh", "de" for "ger"."""
    tag = get_global("language_aliases").get(language)
    return Tag.parse(tag) if tag else None


def likely_script(language: str, region: str = "") -> str | None:
    """Return the script of a language, in a region if one is given, or None if the tables have none.

    A script without region is MTEB's default, else CLDR's likely script. For example, ``likely_script("zh", "TW")`` is
    "Hant".
    """
    if not region and (script := _mteb_table("iso_639_3_to_default_script").get(iso639_3(language) or "")):
        return str(script)
    tag = get_global("likely_subtags").get(f"{language}_{region}" if region else language)
    return str(tag).split("_")[1] if tag else None


def has_locale(code: str, script: str, region: str) -> bool:
    """Return whether CLDR has a locale of a language in a region, so that a tag such as ``pt_br`` is likely meant."""
    language = code.partition("-")[0]
    likely = str(get_global("likely_subtags").get(language, ""))
    names = (f"{language}_{region}", f"{language}_{script}_{region}")
    return likely.endswith(f"_{region}") or any(map(localedata.exists, names))


def official_languages(region: str) -> list[str]:
    """Return the tags of the official languages of a region; for example, ["pt"] for "BR"."""
    languages = get_global("territory_languages").get(region, {})
    return [name for name, fields in languages.items() if fields["official_status"]]


def describe(script: str, region: str, variants: tuple[str, ...]) -> str:
    """Return the English names of script, region and variants, such as "Traditional, Taiwan"."""
    english = _english()
    words = [english.scripts.get(script, script), english.territories.get(region, region)]
    return ", ".join(filter(None, [*words, *(english.variants.get(variant.upper(), variant) for variant in variants)]))
