"""Languages: the codes that tasks use, their names and scripts, and the codes that MTEB uses for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hbt_bench.errors import UsageError, did_you_mean

#: code, ISO 639-3 code, ISO 15924 script, English name
_TABLE = """
af afr Latn Afrikaans|am amh Ethi Amharic|ar ara Arab Arabic|az aze Latn Azerbaijani|be bel Cyrl Belarusian
bg bul Cyrl Bulgarian|bn ben Beng Bengali|br bre Latn Breton|ca cat Latn Catalan|cs ces Latn Czech
cy cym Latn Welsh|da dan Latn Danish|de deu Latn German|el ell Grek Greek|en eng Latn English|es spa Latn Spanish
et est Latn Estonian|eu eus Latn Basque|fa fas Arab Persian|fi fin Latn Finnish|fo fao Latn Faroese
fr fra Latn French|fy fry Latn West Frisian|ga gle Latn Irish|gl glg Latn Galician|gn grn Latn Guarani
gu guj Gujr Gujarati|ha hau Latn Hausa|he heb Hebr Hebrew|hi hin Deva Hindi|hr hrv Latn Croatian
ht hat Latn Haitian Creole|hu hun Latn Hungarian|hy hye Armn Armenian|id ind Latn Indonesian|ig ibo Latn Igbo
is isl Latn Icelandic|it ita Latn Italian|ja jpn Jpan Japanese|jv jav Latn Javanese|ka kat Geor Georgian
kab kab Latn Kabyle|kk kaz Cyrl Kazakh|km khm Khmr Khmer|kn kan Knda Kannada|ko kor Hang Korean
lo lao Laoo Lao|lt lit Latn Lithuanian|lv lav Latn Latvian|mk mkd Cyrl Macedonian|ml mal Mlym Malayalam
mn mon Cyrl Mongolian|mr mar Deva Marathi|ms msa Latn Malay|mt mlt Latn Maltese|my mya Mymr Burmese
ne npi Deva Nepali|nl nld Latn Dutch|no nor Latn Norwegian|om orm Latn Oromo|pa pan Guru Punjabi
pl pol Latn Polish|ps pus Arab Pashto|pt por Latn Portuguese|qu que Latn Quechua|ro ron Latn Romanian
ru rus Cyrl Russian|si sin Sinh Sinhala|sk slk Latn Slovak|sl slv Latn Slovenian|so som Latn Somali
sq sqi Latn Albanian|sr srp Cyrl Serbian|sv swe Latn Swedish|sw swa Latn Swahili|ta tam Taml Tamil
te tel Telu Telugu|th tha Thai Thai|tl tgl Latn Tagalog|tr tur Latn Turkish|tt tat Cyrl Tatar
ug uig Arab Uyghur|uk ukr Cyrl Ukrainian|ur urd Arab Urdu|uz uzb Latn Uzbek|vi vie Latn Vietnamese
wo wol Latn Wolof|xh xho Latn Xhosa|yi yid Hebr Yiddish|yo yor Latn Yoruba|zh zho Hans Chinese|zu zul Latn Zulu
"""


@dataclass(frozen=True)
class Language:
    """A language as tasks name it (`code`), with its ISO 639-3 code, ISO 15924 script and English name."""

    code: str
    iso639_3: str
    script: str
    name: str

    @property
    def mteb(self) -> str:
        """The code in MTEB's form, as in ``deu-Latn``."""
        return f"{self.iso639_3}-{self.script}"


LANGUAGES: dict[str, Language] = {
    code: Language(code, iso, script, name)
    for code, iso, script, name in (row.split(" ", 3) for line in _TABLE.split("\n") if line for row in line.split("|"))
}


def get_language(code: str) -> Language:
    """Look `code` up; raise `UsageError` with a suggestion when it is not known."""
    try:
        return LANGUAGES[code]
    except KeyError:
        raise UsageError(f"unknown language code '{code}'{did_you_mean(code, LANGUAGES)}") from None


def select(wanted: Iterable[str], available: Iterable[str], owner: str) -> tuple[str, ...]:
    """Return `wanted` in the order of `available`; raise `UsageError` for one that `owner` does not have."""
    available = tuple(available)
    wanted = tuple(wanted)
    for code in wanted:
        if code not in available:
            names = {LANGUAGES[known].name.lower(): known for known in available if known in LANGUAGES}
            hint = (
                f"; did you mean '{names[code.lower()]}'?" if code.lower() in names else did_you_mean(code, available)
            )
            raise UsageError(f"{owner} has no language '{code}'{hint or ''} (it has {' '.join(available)})")
    return tuple(code for code in available if code in wanted)
