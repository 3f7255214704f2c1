"""The embedded collection `cldr-facts`: facts about territories as questions and answers in many languages.

It is built from the Unicode CLDR data in the babel package and the sentences in `cldr_templates.yaml`, so it needs no
network. The sentences contain the names exactly as in CLDR.
"""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

import babel
import yaml
from babel import Locale, UnknownLocaleError, core
from babel.languages import get_official_languages
from babel.numbers import get_territory_currencies

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import UsageError, did_you_mean
from hbt_bench.languages import select

NAME = "cldr-facts"
SPLITS = ("train", "dev", "test")
RELATIONS = ("currency", "language", "weekday")

#: Languages without training texts: arXiv 2408.10536 leaves these two languages of XQuAD-R out of its training data.
HELD_OUT = ("el", "vi")

#: The day on which currencies must be in use. It is fixed so that the data do not change with the day of the run.
_DAY = datetime.date(2025, 1, 1)

#: CLDR's weekday codes in babel's order.
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Template(NamedTuple):
    """The sentences of a relation in a language, with ``{territory}`` and, in the answer, ``{answer}``."""

    question: str
    answer: str


_TEMPLATES: dict[str, dict[str, Template]] = {
    code: {relation: Template(**sentences) for relation, sentences in relations.items()}
    for code, relations in yaml.safe_load(
        resources.files(__package__).joinpath("cldr_templates.yaml").read_text("utf-8")
    ).items()
}

#: The languages of the collection: those with templates.
LANGUAGES: tuple[str, ...] = tuple(_TEMPLATES)


@dataclass(frozen=True)
class Fact:
    """A fact in CLDR's codes, the same in every language. For example, ``Fact("currency", "CH", "CHF")``."""

    relation: str
    territory: str
    answer: str

    @property
    def id(self) -> str:
        """Relation and territory, for example ``currency-CH``."""
        return f"{self.relation}-{self.territory}"

    @property
    def split(self) -> str:
        """The split, from a hash of the id: a fact keeps its split when other facts are added or removed."""
        share = int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:8], "big") / 2**64
        return "train" if share < 0.6 else "dev" if share < 0.7 else "test"


def cldr_version() -> str:
    """Return the version of CLDR in the installed babel, or babel's version if babel is too old to know."""
    version: Callable[[], str] | None = getattr(core, "get_cldr_version", None)
    return version() if version else f"babel-{babel.__version__}"


@cache
def facts() -> tuple[Fact, ...]:
    """Return all facts that have names in every language of the collection, sorted by id.

    Territories that share a name with another territory in some language are left out.
    """
    answers = {"currency": _currency, "language": _official_language, "weekday": _first_weekday}
    named_facts = (
        Fact(relation, territory, code)
        for territory in _territories()
        for relation, answer in answers.items()
        if (code := answer(territory)) and all(_name(language, relation, code) for language in LANGUAGES)
    )
    return tuple(sorted(named_facts, key=lambda fact: fact.id))


def read(split: str = "test", languages: Sequence[str] | None = None) -> Collection:
    """Build the collection of a split: a query and a document per fact and language.

    A query's relevant documents are its fact's documents in all languages of the collection, with grade 1. The split
    "train" has no text in `HELD_OUT`. Raises `UsageError` for an unknown split or language. For example,
    ``read("dev", ["de", "en"])``.
    """
    if split not in SPLITS:
        raise UsageError(f"{NAME} has no split '{split}'{did_you_mean(split, SPLITS)} (it has {' '.join(SPLITS)})")
    codes = tuple(code for code in LANGUAGES if split != "train" or code not in HELD_OUT)
    if languages is not None:
        codes = select(languages, codes, f"{NAME} ({split})")
    return _build(split, codes)


@lru_cache(maxsize=16)
def _build(split: str, codes: tuple[str, ...]) -> Collection:
    """Return a collection; a study reads the same collections for each of its models."""
    queries, documents, relevant = [], [], {}
    for fact in facts():
        if fact.split != split:
            continue
        grades = {f"{code}-d-{fact.id}": 1 for code in codes}
        for code, document in zip(codes, grades, strict=True):
            territory = _name(code, "territory", fact.territory)
            template = _TEMPLATES[code][fact.relation]
            query = Query(f"{code}-q-{fact.id}", code, template.question.format(territory=territory), fact.id)
            answer = template.answer.format(territory=territory, answer=_name(code, fact.relation, fact.answer))
            queries.append(query)
            documents.append(Document(document, code, answer))
            relevant[query.id] = grades
    territories = [(query.question, query.question.partition("-")[2]) for query in queries]
    return Collection.from_records(NAME, queries, documents, relevant, clusters={"territory": territories})


@cache
def _names(language: str) -> dict[str, Mapping[str, str]]:
    # CLDR's root has codes but no names, and none of the languages has another parent, so no name is inherited.
    # `localedata.load(..., merge_inherited=False)` would ensure that too, but leaves the bare data in babel's cache.
    locale = Locale(language)
    days = locale.days["format"]["wide"]
    return {
        "territory": locale.territories,
        "currency": locale.currencies,
        "language": locale.languages,
        "weekday": {code: days[number] for number, code in enumerate(_WEEKDAYS)},
    }


def _name(language: str, kind: str, code: str) -> str | None:
    name = _names(language)[kind].get(code)
    return None if name == code else name


def _territories() -> list[str]:
    """Return the two-letter territories that have a unique name in every language."""
    codes = [code for code in _names("en")["territory"] if len(code) == 2 and code.isalpha()]
    for language in LANGUAGES:
        names = {code: name.casefold() for code in codes if (name := _name(language, "territory", code))}
        uses = Counter(names.values())
        codes = [code for code in codes if code in names and uses[names[code]] == 1]
    return codes


def _currency(territory: str) -> str | None:
    if territory == "EU":  # a union whose members do not all have its currency
        return None
    currencies = get_territory_currencies(territory, _DAY, _DAY)
    return currencies[0] if len(currencies) == 1 else None


def _official_language(territory: str) -> str | None:
    # With regional and de facto official languages counted, a single language is beyond dispute.
    languages = get_official_languages(territory, regional=True, de_facto=True)
    return languages[0] if len(languages) == 1 else None


def _first_weekday(territory: str) -> str | None:
    # babel has the week only in locales, so use the territory's most likely locale. Some locales inherit from another
    # territory, for example pt_AO from pt_PT, and would return the other territory's week.
    try:
        locale = Locale.parse(f"und_{territory}")
    except (UnknownLocaleError, ValueError):
        return None
    parent = core.get_global("parent_exceptions").get(str(locale), "").rpartition("_")[2]
    if locale.territory != territory or (len(parent) == 2 and parent.isupper()):
        return None
    return _WEEKDAYS[locale.first_week_day]
