"""The tokens of BM25: a table of scripts by hand, and the words of UAX #29 in the languages of CLDR."""

from __future__ import annotations

import unicodedata

import babel
import pytest
import regex

from hbt_bench.ranking.tokens import tokenize

#: A word or two of each script, and the tokens by hand.
SCRIPTS = {
    "Latin": ("Ñandú ǆ Œuvre", ["ñandú", "dž", "œuvre"]),
    "Latin, elision": ("l'été dell’arte", ["l", "été", "dell", "arte"]),
    "Latin, turned comma": ("oʻzbek o‘zbek Hawaiʻi Hawai‘i", ["oʻzbek", "oʻzbek", "hawaiʻi", "hawaiʻi"]),
    "Latin, middle dot": ("Col·lega coŀlega, in·hèrn", ["col·lega", "col·lega", "in·hèrn"]),
    "Latin, letters i of Turkish": ("İstanbul ISPARTA ısı i\u0307yi", ["istanbul", "isparta", "isi", "iyi"]),
    "Latin, tones": ("Ọ̀yọ́ Việt", ["ọ̀yọ́", "việt"]),
    "Latin, soft hyphen": ("Auto\u00adbahn", ["autobahn"]),
    "Greek": ("ΟΔΟΣ ΪΌΣ ΐ απ' όλα·", ["οδοσ", "ϊόσ", "ΐ", "απ", "όλα"]),
    "Cyrillic": ("Ёлка Ќе Ғылым", ["ёлка", "ќе", "ғылым"]),
    "Cyrillic, apostrophe": ("п'ять п’ять пʼять аб’ява", ["пʼять", "пʼять", "пʼять", "абʼява"]),
    "Armenian": ("Ինչո՞ւ և դ՚Իվուար։", ["ինչու", "եւ", "դʼիվուար"]),
    "Georgian": ("საქართველო ᲡᲐᲥᲐᲠᲗᲕᲔᲚᲝ", ["საქართველო", "საქართველო"]),
    "Hebrew": ("שָׁלוֹם בית־ספר", ["שָׁלוֹם", "בית", "ספר"]),
    "Hebrew, gershayim": ('צה"ל צה״ל', ["צה״ל", "צה״ל"]),
    "Hebrew, geresh": ("ג'ירפה ג׳ירפה רח׳", ["ג׳ירפה", "ג׳ירפה", "רח"]),
    "Arabic": ("كِتَابٌ، كتـــاب؟", ["كِتَابٌ", "كتاب"]),
    "Arabic, non-joiner": ("می\u200cخواهم", ["می", "خواهم"]),
    "Arabic, forms": ("ﻛﺘﺎﺏ ه\u200d", ["كتاب", "ه"]),
    "Syriac": ("ܫܠܳܡܳܐ", ["ܫܠܳܡܳܐ"]),
    "Thaana": ("ދިވެހި ބަސް", ["ދިވެހި", "ބަސް"]),
    "N'Ko": ("ߒߞߏ ߕߊ߬ߺߡߌ߲", ["ߒߞߏ", "ߕߊ߬ߡߌ߲"]),
    "Ethiopic": ("ሰላም፡ዓለም። ሰላም፣ዓለም", ["ሰላም", "ዓለም", "ሰላም", "ዓለም"]),
    "Tifinagh": ("ⵜⴰⵎⴰⵣⵉⵖⵜ ⴽⵯ", ["ⵜⴰⵎⴰⵣⵉⵖⵜ", "ⴽⵡ"]),
    "Vai": ("ꕙꔤ", ["ꕙꔤ"]),
    "Adlam": ("𞤆𞤵𞤤𞤢𞤪", ["𞤨𞤵𞤤𞤢𞤪"]),
    "Osmanya": ("𐒈𐒝𐒑𐒛𐒐𐒘", ["𐒈𐒝𐒑𐒛𐒐𐒘"]),
    "Cherokee": ("ᏣᎳᎩ ꮳꮃꭹ", ["ᏣᎳᎩ", "ᏣᎳᎩ"]),
    "Canadian syllabics": ("ᐃᓄᒃᑎᑐᑦ", ["ᐃᓄᒃᑎᑐᑦ"]),
    "Devanagari": ("हिन्दी में। डॉ॰", ["हिन्दी", "में", "डॉ"]),
    "Devanagari, joiner": ("दुर्\u200dयोधन क्\u200dष", ["दुर्योधन", "क्ष"]),
    "Devanagari, nukta": ("लड़का लड़का ऽ", ["लड़का", "लड़का", "ऽ"]),
    "Bengali": ("বাংলা র\u200d্যাম উৎসব", ["বাংলা", "র্যাম", "উৎসব"]),
    "Gurmukhi": ("ਪੰਜਾਬੀ ਪੱਕਾ", ["ਪੰਜਾਬੀ", "ਪੱਕਾ"]),
    "Gujarati": ("ગુજરાતી શ્રી", ["ગુજરાતી", "શ્રી"]),
    "Odia": ("ଓଡ଼ିଆ ଶକ୍ତି", ["ଓଡ଼ିଆ", "ଶକ୍ତି"]),
    "Tamil": ("தமிழ் ஃ", ["தமிழ்", "ஃ"]),
    "Telugu": ("తెలుగు సాఫ్ట్\u200cవేర్", ["తెలుగు", "సాఫ్ట్వేర్"]),
    "Kannada": ("ಕನ್ನಡ ರ\u200d್ಯಾಲಿ", ["ಕನ್ನಡ", "ರ್ಯಾಲಿ"]),
    "Malayalam": ("മലയാളം എന്\u200dറെ അവൻ", ["മലയാളം", "എന്റെ", "അവൻ"]),
    "Sinhala": ("ශ්\u200dරී ලංකා", ["ශ්රී", "ලංකා"]),
    "Ol Chiki": ("ᱥᱟᱱᱛᱟᱲᱤ ᱟᱹᱰᱤ", ["ᱥᱟᱱᱛᱟᱲᱤ", "ᱟᱹᱰᱤ"]),
    "Meetei Mayek": ("ꯃꯩꯇꯩꯂꯣꯟ", ["ꯃꯩꯇꯩꯂꯣꯟ"]),
    "Tibetan": ("བོད་སྐད། བོད༌", ["བོད", "སྐད", "བོད"]),
    "Mongolian": ("ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ", ["ᠮᠣᠩᠭᠣᠯ", "ᠬᠡᠯᠡ"]),
    "Thai": ("ไปน้ำ ๆ", ["ไป", "ปน้ํ", "น้ํา", "ๆ"]),
    "Thai, zero-width space": ("ไทย\u200bไทย", ["ไท", "ทย", "ไท", "ทย"]),
    "Lao": ("ລາວ", ["ລາ", "າວ"]),
    "Khmer": ("ខ្មែរ។", ["ខ្មែរ"]),
    "Myanmar": ("မြန်မာ။ စာ၊", ["မြန်", "န်မ", "မာ", "စာ"]),
    "Javanese": ("ꦲꦏꦱꦫ", ["ꦲꦏ", "ꦏꦱ", "ꦱꦫ"]),
    "Yi": ("ꆈꌠꉙ", ["ꆈꌠ", "ꌠꉙ"]),
    "Hangul": ("한국어를 한국어를", ["한국어를", "한국어를"]),
    "Han": ("日本、中国", ["日本", "中国"]),
    "Han, marks": ("人々〆切〇葛\U000e0100城", ["人々", "々〆", "〆切", "切〇", "〇葛", "葛城"]),
    "Katakana": ("ラーメン・コーヒー", ["ラー", "ーメ", "メン", "コー", "ーヒ", "ヒー"]),
    "Katakana, half width": ("ｺｰﾋｰ ｶﾞｰ", ["コー", "ーヒ", "ヒー", "ガー"]),
    "Hiragana": ("すごーい いすゞ", ["すご", "ごー", "ーい", "いす", "すゞ"]),
    "Bopomofo": ("ㄅㄆㄇ", ["ㄅㄆㄇ"]),
    "full width": ("ＡＢＣ１２３", ["abc123"]),
    "marks without a letter": ("❤\ufe0f \u3099 1\ufe0f", ["1"]),
    "digits": ("२०२४ ٣٤ ½", ["२०२४", "٣٤", "1", "2"]),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_tokens_of_script(script):
    text, tokens = SCRIPTS[script]
    expected = [unicodedata.normalize("NFC", token) for token in tokens]
    assert tokenize(text) == expected
    assert tokenize(unicodedata.normalize("NFD", text)) == expected


#: A language or more of each script with spaces that CLDR has.
CODES = tuple("am ar as bo ca chr el fa he hi hy ka kn ml nqo pa sat si tr uk uz zgh".split())  # noqa: SIM905
UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{lb=SA}\p{Yi}]")
#: Where we cut a word of UAX #29: at punctuation, and at the non-joiner of Arabic letters.
CUTS = regex.compile(r"[.:'’‘_]|\u200c(?=\p{Arabic})|(?<=\p{Latin})[-–]")


def words(text):
    """Return the words of UAX #29 as `regex` finds them, cut where Lucene's analyzers for French and Persian cut."""
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold())
    text = text.replace("i\u0307", "i").replace("ı", "i")
    text = regex.sub(r"(?<=\p{Cyrillic})['’](?=\p{Cyrillic})", "ʼ", text)
    text = regex.sub(r"(?<=\p{Hebrew})'(?=\p{Hebrew})", "׳", text)
    text = regex.sub(r'(?<=\p{Hebrew})"(?=\p{Hebrew})', "״", text)
    text = regex.sub(r"(?<=\p{Armenian})՚(?=\p{Armenian})", "ʼ", text)
    text = regex.sub(r"(?<=\p{Latin})‘(?=\p{Latin})", "ʻ", text)
    found = [part for word in regex.split(r"\b", text, flags=regex.V1 | regex.WORD) for part in CUTS.split(word)]
    found = [regex.sub(r"^\p{M}+|[׳״]$|\p{DI}|ـ", "", word) for word in found]
    return [word for word in found if regex.search(r"[\p{L}\p{N}]", word)]


@pytest.mark.parametrize("code", CODES)
def test_words_are_those_of_unicode(code):
    """The names of territories, languages, currencies and months in CLDR."""
    locale = babel.Locale.parse(code)
    months = locale.months["format"]["wide"]
    names = [*locale.territories.values(), *locale.languages.values(), *locale.currencies.values(), *months.values()]
    spaced = [name for name in names[::3] if not UNSPACED.search(name)]
    assert {name: tokenize(name) for name in spaced} == {name: words(name) for name in spaced}
    assert len(spaced) > 80


def test_no_token_is_lost_without_spaces():
    """The pairs of a run join to the run."""
    for text in ("スーパーコンピューター", "ราชอาณาจักรไทย", "ព្រះរាជាណាចក្រកម្ពុជា", "ပြည်ထောင်စုသမ္မတ", "ສາທາລະນະລັດ"):
        pairs = tokenize(text)
        clusters = [regex.findall(r"\X", pair) for pair in pairs]
        assert all(len(pair) == 2 for pair in clusters)
        joined = "".join(pair[0] for pair in clusters) + clusters[-1][1]
        assert joined == unicodedata.normalize("NFKC", text)
