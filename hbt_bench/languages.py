"""Languages: the codes that tasks use, their names and scripts, and the codes that MTEB uses for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hbt_bench.errors import UsageError, did_you_mean

#: code, ISO 639-3 code, ISO 15924 script, resource class, family, English name
_TABLE = """
af afr Latn 3 Indo-European:Germanic Afrikaans|ak twi Latn 1 Niger-Congo:Kwa Twi
am amh Ethi 2 Afro-Asiatic:Semitic Amharic|ar ara Arab 5 Afro-Asiatic:Semitic Arabic
as asm Beng 1 Indo-European:Indo-Aryan Assamese|az aze Latn 1 Turkic:Oghuz Azerbaijani
be bel Cyrl 3 Indo-European:Slavic Belarusian|bg bul Cyrl 3 Indo-European:Slavic Bulgarian|bm bam Latn 1 Mande Bambara
bn ben Beng 3 Indo-European:Indo-Aryan Bengali|bo bod Tibt 1 Sino-Tibetan:Tibeto-Burman Tibetan
br bre Latn 1 Indo-European:Celtic Breton|bs bos Latn 3 Indo-European:Slavic Bosnian
ca cat Latn 4 Indo-European:Romance Catalan|ceb ceb Latn 3 Austronesian:Malayo-Polynesian Cebuano
cs ces Latn 4 Indo-European:Slavic Czech|cy cym Latn 1 Indo-European:Celtic Welsh
da dan Latn 3 Indo-European:Germanic Danish|de deu Latn 5 Indo-European:Germanic German
ee ewe Latn 1 Niger-Congo:Kwa Ewe|el ell Grek 3 Indo-European:Greek Greek|en eng Latn 5 Indo-European:Germanic English
eo epo Latn 1 constructed Esperanto|es spa Latn 5 Indo-European:Romance Spanish|et est Latn 3 Uralic:Finnic Estonian
eu eus Latn 4 isolate Basque|fa fas Arab 4 Indo-European:Iranian Persian|fi fin Latn 4 Uralic:Finnic Finnish
fo fao Latn 1 Indo-European:Germanic Faroese|fr fra Latn 5 Indo-European:Romance French
fy fry Latn 0 Indo-European:Germanic West Frisian|ga gle Latn 2 Indo-European:Celtic Irish
gd gla Latn 1 Indo-European:Celtic Scottish Gaelic|gl glg Latn 3 Indo-European:Romance Galician
gn grn Latn 1 Tupian Guarani|gu guj Gujr 1 Indo-European:Indo-Aryan Gujarati|ha hau Latn 2 Afro-Asiatic:Chadic Hausa
he heb Hebr 3 Afro-Asiatic:Semitic Hebrew|hi hin Deva 4 Indo-European:Indo-Aryan Hindi
hr hrv Latn 4 Indo-European:Slavic Croatian|ht hat Latn 2 Creole Haitian Creole
hu hun Latn 4 Uralic:Hungarian Hungarian|hy hye Armn 1 Indo-European:Armenian Armenian
id ind Latn 3 Austronesian:Malayo-Polynesian Indonesian|ig ibo Latn 1 Niger-Congo:Volta-Niger Igbo
is isl Latn 2 Indo-European:Germanic Icelandic|it ita Latn 4 Indo-European:Romance Italian
ja jpn Jpan 5 Japonic Japanese|jv jav Latn 1 Austronesian:Malayo-Polynesian Javanese|ka kat Geor 3 Kartvelian Georgian
kab kab Latn 1 Afro-Asiatic:Berber Kabyle|kk kaz Cyrl 3 Turkic:Kipchak Kazakh|km khm Khmr 1 Austroasiatic:Khmer Khmer
kn kan Knda 1 Dravidian Kannada|ko kor Hang 4 Koreanic Korean|ku kmr Latn 1 Indo-European:Iranian Northern Kurdish
ky kir Cyrl 1 Turkic:Kipchak Kyrgyz|lb ltz Latn 1 Indo-European:Germanic Luxembourgish
lg lug Latn 1 Niger-Congo:Bantu Ganda|ln lin Latn 1 Niger-Congo:Bantu Lingala|lo lao Laoo 2 Tai-Kadai:Tai Lao
lt lit Latn 3 Indo-European:Baltic Lithuanian|lua lua Latn 0 Niger-Congo:Bantu Luba-Lulua
lv lav Latn 3 Indo-European:Baltic Latvian|mg mlg Latn 1 Austronesian:Malayo-Polynesian Malagasy
mi mri Latn 1 Austronesian:Malayo-Polynesian Maori|mk mkd Cyrl 1 Indo-European:Slavic Macedonian
ml mal Mlym 1 Dravidian Malayalam|mn mon Cyrl 1 Mongolic Mongolian|mr mar Deva 2 Indo-European:Indo-Aryan Marathi
ms msa Latn 3 Austronesian:Malayo-Polynesian Malay|mt mlt Latn 2 Afro-Asiatic:Semitic Maltese
my mya Mymr 1 Sino-Tibetan:Tibeto-Burman Burmese|ne npi Deva 1 Indo-European:Indo-Aryan Nepali
nl nld Latn 4 Indo-European:Germanic Dutch|no nor Latn 1 Indo-European:Germanic Norwegian
nso nso Latn 0 Niger-Congo:Bantu Northern Sotho|ny nya Latn 1 Niger-Congo:Bantu Chichewa
oc oci Latn 1 Indo-European:Romance Occitan|om orm Latn 0 Afro-Asiatic:Cushitic Oromo
or ory Orya 1 Indo-European:Indo-Aryan Odia|pa pan Guru 2 Indo-European:Indo-Aryan Punjabi
pl pol Latn 4 Indo-European:Slavic Polish|ps pus Arab 1 Indo-European:Iranian Pashto
pt por Latn 4 Indo-European:Romance Portuguese|qu que Latn 1 Quechuan Quechua|rn run Latn 1 Niger-Congo:Bantu Rundi
ro ron Latn 3 Indo-European:Romance Romanian|ru rus Cyrl 4 Indo-European:Slavic Russian
rw kin Latn 1 Niger-Congo:Bantu Kinyarwanda|sd snd Arab 1 Indo-European:Indo-Aryan Sindhi
si sin Sinh 0 Indo-European:Indo-Aryan Sinhala|sk slk Latn 3 Indo-European:Slavic Slovak
sl slv Latn 3 Indo-European:Slavic Slovenian|sm smo Latn 1 Austronesian:Malayo-Polynesian Samoan
sn sna Latn 1 Niger-Congo:Bantu Shona|so som Latn 1 Afro-Asiatic:Cushitic Somali
sq sqi Latn 1 Indo-European:Albanian Albanian|sr srp Cyrl 4 Indo-European:Slavic Serbian
ss ssw Latn 1 Niger-Congo:Bantu Swati|st sot Latn 0 Niger-Congo:Bantu Southern Sotho
su sun Latn 1 Austronesian:Malayo-Polynesian Sundanese|sv swe Latn 4 Indo-European:Germanic Swedish
sw swa Latn 2 Niger-Congo:Bantu Swahili|ta tam Taml 3 Dravidian Tamil|te tel Telu 1 Dravidian Telugu
tg tgk Cyrl 1 Indo-European:Iranian Tajik|th tha Thai 3 Tai-Kadai:Tai Thai|ti tir Ethi 2 Afro-Asiatic:Semitic Tigrinya
tk tuk Latn 1 Turkic:Oghuz Turkmen|tl tgl Latn 3 Austronesian:Malayo-Polynesian Tagalog
tn tsn Latn 2 Niger-Congo:Bantu Tswana|tr tur Latn 4 Turkic:Oghuz Turkish|ts tso Latn 1 Niger-Congo:Bantu Tsonga
tt tat Cyrl 1 Turkic:Kipchak Tatar|ug uig Arab 1 Turkic:Karluk Uyghur|uk ukr Cyrl 3 Indo-European:Slavic Ukrainian
ur urd Arab 3 Indo-European:Indo-Aryan Urdu|uz uzb Latn 3 Turkic:Karluk Uzbek
vi vie Latn 4 Austroasiatic:Vietic Vietnamese|wo wol Latn 2 Niger-Congo:Senegambian Wolof
xh xho Latn 2 Niger-Congo:Bantu Xhosa|yi yid Hebr 1 Indo-European:Germanic Yiddish
yo yor Latn 2 Niger-Congo:Volta-Niger Yoruba|zh zho Hans 5 Sino-Tibetan:Sinitic Chinese
zu zul Latn 2 Niger-Congo:Bantu Zulu
"""


#: The name of the languages of resource classes 0 to 2.
LOW_RESOURCE = "low-resource"
#: Other ISO 639-3 codes under which data sets have a language: single languages of a macrolanguage, and older codes.
_ALIASES = {
    "arb": "ar", "azj": "az", "cmn": "zh", "ekk": "et", "fil": "tl", "gaz": "om", "gug": "gn", "khk": "mn",
    "lvs": "lv", "als": "sq", "nep": "ne", "nob": "no", "ori": "or", "pbt": "ps", "pes": "fa", "plt": "mg",
    "quy": "qu", "quz": "qu", "swh": "sw", "aka": "ak", "uzn": "uz", "ydd": "yi", "zsm": "ms",
}  # fmt: skip
#: Other scripts' codes that mean the same letters in data sets.
_SAME_SCRIPT = {"Kore": "Hang", "Hani": "Hans", "Hira": "Jpan", "Kana": "Jpan"}


@dataclass(frozen=True)
class Language:
    """A language as tasks name it (`code`), with its ISO 639-3 code, ISO 15924 script and English name.

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
        """The code in MTEB's form, as in ``deu-Latn``."""
        return f"{self.iso639_3}-{self.script}"

    @property
    def low_resource(self) -> bool:
        """Whether the language is of the classes 0 to 2, where there is little or no labelled data."""
        return self.resources <= 2


def _parse(cell: str) -> Language:
    code, iso, script, resources, family, name = cell.split(" ", 5)
    return Language(code, iso, script, int(resources), family, name)


LANGUAGES: dict[str, Language] = {
    language.code: language
    for language in (_parse(cell) for line in _TABLE.split("\n") if line for cell in line.split("|"))
}


def get_language(code: str) -> Language:
    """Look `code` up; raise `UsageError` with a suggestion when it is not known."""
    try:
        return LANGUAGES[code]
    except KeyError:
        raise UsageError(f"unknown language code '{code}'{did_you_mean(code, LANGUAGES)}") from None


def from_mteb(label: str) -> str | None:
    """Our code for ``deu-Latn``, ``arb_Arab`` or ``deu``; None for another script or a language that has no code."""
    iso, _, script = label.replace("_", "-").partition("-")
    code = _ALIASES.get(iso) or _BY_ISO.get(iso)
    if code is None or (script and _SAME_SCRIPT.get(script, script) != LANGUAGES[code].script):
        return None
    return code


_BY_ISO = {language.iso639_3: code for code, language in LANGUAGES.items()}


def select(wanted: Iterable[str], available: Iterable[str], owner: str) -> tuple[str, ...]:
    """Return `wanted` in the order of `available`; raise `UsageError` for one that `owner` does not have.

    Beside codes, ``low-resource``, ``script:Arab`` and ``family:Bantu`` stand for all such languages of `available`.
    """
    available = tuple(available)
    chosen: set[str] = set()
    for word in wanted:
        group = _group(word, available)
        if group is None and word not in available:
            names = {LANGUAGES[known].name.lower(): known for known in available if known in LANGUAGES}
            hint = (
                f"; did you mean '{names[word.lower()]}'?" if word.lower() in names else did_you_mean(word, available)
            )
            raise UsageError(f"{owner} has no language '{word}'{hint or ''} (it has {' '.join(available)})")
        if group == ():
            raise UsageError(f"{owner} has no language of '{word}' (it has {' '.join(available)})")
        chosen.update((word,) if group is None else group)
    return tuple(code for code in available if code in chosen)


def _group(word: str, available: tuple[str, ...]) -> tuple[str, ...] | None:
    """The languages that the name of a group stands for, None when it names no group."""
    known = [LANGUAGES[code] for code in available if code in LANGUAGES]
    if word == LOW_RESOURCE:
        return tuple(language.code for language in known if language.low_resource)
    kind, colon, name = word.partition(":")
    if not colon or kind not in ("script", "family"):
        return None
    if kind == "script":
        everything = {language.script for language in LANGUAGES.values()}
        matching = tuple(language.code for language in known if language.script.lower() == name.lower())
    else:
        everything = {part for language in LANGUAGES.values() for part in language.family.split(":")}
        matching = tuple(language.code for language in known if name.lower() in language.family.lower().split(":"))
    if name.lower() not in {one.lower() for one in everything}:
        raise UsageError(f"unknown {kind} '{name}'{did_you_mean(name, everything) or ': as in Arab, Bantu'}")
    return matching
