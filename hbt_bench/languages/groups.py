"""The languages that a user selects, by code or by group."""

from __future__ import annotations

from collections.abc import Iterable

from hbt_bench.errors import UsageError, did_you_mean
from hbt_bench.languages.table import LANGUAGES, Language, find, general, parse_code, subtag
from hbt_bench.settings import check_choice

#: The groups of languages by which scores can be shown.
GROUPS = ("script", "family", "resources")
#: The name of the group of languages in resource classes 0 to 2.
LOW_RESOURCE = "low-resource"


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
    meant = parse_code(word)
    related = [code for code in available if meant and find(code) and _same_language(code, meant)]
    if word.lower() in names:
        related = [names[word.lower()]]
    if related:
        return "; did you mean " + " or ".join(f"'{code}'" for code in related) + "?"
    return did_you_mean(word, available)


def _same_language(code: str, other: str) -> bool:
    return subtag(general(code)) == subtag(general(other))


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


def group_of(code: str, by: str) -> str:
    """Return the group of a language by "script", "family" or "resources", "unknown" if it has none.

    A script is its ISO 15924 code, a family is without its branch, and resources are the class of Joshi et al. 2020.
    For example, ``group_of("sw", "family")`` is "Niger-Congo". Raises `UsageError` for another grouping.
    """
    check_choice("by", by, GROUPS)
    language = find(code)
    if language is None:
        return "unknown"
    if by == "resources":
        return "unknown" if language.resources is None else str(language.resources)
    return _groups_of(language, by)[0] or "unknown"


def _groups_of(language: Language, kind: str) -> list[str]:
    return [language.script] if kind == "script" else language.family.split(":")
