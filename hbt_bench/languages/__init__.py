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

from hbt_bench.languages.groups import LOW_RESOURCE, select
from hbt_bench.languages.labels import match_labels, read_label
from hbt_bench.languages.table import (
    LANGUAGES,
    Language,
    find,
    from_mteb,
    general,
    get_language,
    is_official,
    is_usual,
    parse_code,
    unknown_code,
)

__all__ = [
    "LANGUAGES",
    "LOW_RESOURCE",
    "Language",
    "find",
    "from_mteb",
    "general",
    "get_language",
    "is_official",
    "is_usual",
    "match_labels",
    "parse_code",
    "read_label",
    "select",
    "unknown_code",
]
