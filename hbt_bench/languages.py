"""Languages: the codes of tasks, their names and scripts, and the codes of MTEB."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hbt_bench.errors import UsageError, did_you_mean

#: The name of the group of languages in resource classes 0 to 2.
LOW_RESOURCE = "low-resource"
#: More ISO 639-3 codes of data sets: a language of a macrolanguage, or a code that was replaced.
_ALIASES = {
    "arb": "ar", "azj": "az", "cmn": "zh", "ekk": "et", "fil": "tl", "gaz": "om", "gug": "gn", "khk": "mn",
    "lvs": "lv", "als": "sq", "nep": "ne", "nob": "no", "ori": "or", "pbt": "ps", "pes": "fa", "plt": "mg",
    "quy": "qu", "quz": "qu", "swh": "sw", "aka": "ak", "uzn": "uz", "ydd": "yi", "zsm": "ms",
}  # fmt: skip
#: Codes of scripts that data sets use for the same letters.
_SAME_SCRIPT = {"Kore": "Hang", "Hani": "Hans", "Hira": "Jpan", "Kana": "Jpan"}


@dataclass(frozen=True)
class Language:
    """A language: its `code` in tasks, ISO 639-3 code, ISO 15924 script and English name.

    `resources` is the class of Joshi et al. 2020 ("The State and Fate of Linguistic Diversity and Inclusion in the NLP
    World"), from 0 (left behind) to 5 (winners). `family` is the family and, after a colon, the branch.
    """

    code: str
    iso639_3: str
    script: str
    resources: int
    family: str
    name: str

    @property
    def mteb(self) -> str:
        """The code in MTEB's form; for example, ``deu-Latn``."""
        return f"{self.iso639_3}-{self.script}"

    @property
    def low_resource(self) -> bool:
        """Whether the language is in the resource classes 0 to 2, with little or no labelled data."""
        return self.resources <= 2


def _read(path: Path) -> dict[str, Language]:
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row["code"]: Language(**{**row, "resources": int(row["resources"])})  # type: ignore[arg-type]
            for row in csv.DictReader(file)
        }


LANGUAGES: dict[str, Language] = _read(Path(__file__).with_name("languages.csv"))
_BY_ISO = {language.iso639_3: code for code, language in LANGUAGES.items()}


def get_language(code: str) -> Language:
    """Return the language with `code`; raises `UsageError` with a suggestion if the code is unknown.

    For example, ``get_language("de").name`` is "German".
    """
    try:
        return LANGUAGES[code]
    except KeyError:
        raise UsageError(f"unknown language code '{code}'{did_you_mean(code, LANGUAGES)}") from None


def from_mteb(label: str) -> str | None:
    """Return the code of a language of MTEB, or None if its language or script has no code.

    For example, ``deu-Latn``, ``deu_Latn`` and ``deu`` are "de".
    """
    iso, _, script = label.replace("_", "-").partition("-")
    code = _ALIASES.get(iso) or _BY_ISO.get(iso)
    if code is None or (script and _SAME_SCRIPT.get(script, script) != LANGUAGES[code].script):
        return None
    return code


def select(words: Iterable[str], available: Iterable[str], owner: str) -> tuple[str, ...]:
    """Return the languages that `words` name, in the order of `available`.

    A word is a code, or a group of languages: ``low-resource``, ``script:Arab``, ``family:Bantu``. Raises `UsageError`
    if a word names no language of `owner`, such as a task.
    """
    available = tuple(available)
    selected: set[str] = set()
    for word in words:
        group = _group(word, available)
        if group is None and word not in available:
            names = {LANGUAGES[code].name.lower(): code for code in available if code in LANGUAGES}
            code = names.get(word.lower())
            hint = f"; did you mean '{code}'?" if code else did_you_mean(word, available)
            raise UsageError(f"{owner} has no language '{word}'{hint} (it has {' '.join(available)})")
        if group == ():
            raise UsageError(f"{owner} has no language of '{word}' (it has {' '.join(available)})")
        selected.update((word,) if group is None else group)
    return tuple(code for code in available if code in selected)


def _group(word: str, available: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the available languages of a group, or None if `word` is not the name of a group."""
    languages = [LANGUAGES[code] for code in available if code in LANGUAGES]
    if word == LOW_RESOURCE:
        return tuple(language.code for language in languages if language.low_resource)
    kind, colon, name = word.partition(":")
    if not colon or kind not in ("script", "family"):
        return None
    groups = {group for language in LANGUAGES.values() for group in _groups_of(language, kind)}
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
