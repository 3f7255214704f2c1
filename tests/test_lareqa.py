"""LAReQA's files: the published counts of both data sets, and the errors of the reader."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import pytest

from hbt_bench.data.lareqa import read_lareqa
from hbt_bench.errors import DataError

#: Queries and candidates of each language, as in the tables of LAReQA's README.
COUNTS = {
    "xquad-r": {
        "ar": (1190, 1222),
        "de": (1190, 1276),
        "el": (1190, 1234),
        "en": (1190, 1180),
        "es": (1190, 1215),
        "hi": (1190, 1244),
        "ru": (1190, 1219),
        "th": (1190, 852),
        "tr": (1190, 1167),
        "vi": (1190, 1209),
        "zh": (1190, 1196),
    },
    "mlqa-r": {
        "ar": (517, 2545),
        "de": (512, 2362),
        "en": (1148, 6264),
        "es": (500, 1787),
        "hi": (507, 2426),
        "vi": (511, 2828),
        "zh": (504, 2322),
    },
}
both = pytest.mark.parametrize("name", list(COUNTS))


@pytest.fixture(scope="module")
def files(data_dir):
    return {
        name: {code: data_dir / "lareqa" / name / f"{code}.json" for code in counts} for name, counts in COUNTS.items()
    }


@pytest.fixture(scope="module")
def collections(files):
    return {name: read_lareqa(name, paths) for name, paths in files.items()}


@pytest.fixture(scope="module")
def with_context(files):
    return {name: read_lareqa(name, paths, "sentence+context") for name, paths in files.items()}


def raw_paragraphs(path):
    """Article, paragraph and the paragraph's fields, straight from the file."""
    for number, article in enumerate(json.loads(path.read_bytes())["data"]):
        for position, paragraph in enumerate(article["paragraphs"]):
            yield number, position, paragraph


# The published numbers


@both
def test_published_counts_per_language(collections, name):
    collection = collections[name]
    queries = Counter(query.language for query in collection.queries)
    documents = Counter(document.language for document in collection.documents)
    assert {code: (queries[code], documents[code]) for code in collection.languages} == COUNTS[name]


def test_published_totals(collections):
    assert [(len(collection.queries), len(collection.documents)) for collection in collections.values()] == [
        (13090, 13014),
        (4199, 20534),
    ]
    assert [len({query.question for query in collection.queries}) for collection in collections.values()] == [
        1190,
        1148,
    ]


@pytest.mark.parametrize(("name", "expected"), [("xquad-r", {11: 1190}), ("mlqa-r", {2: 65, 3: 263, 4: 820})])
def test_relevant_documents_of_each_question(collections, name, expected):
    collection = collections[name]
    versions, relevant = defaultdict(set), defaultdict(set)
    for row, query in enumerate(collection.queries):
        versions[query.question].add(query.language)
        relevant[query.question].add(tuple(sorted(collection.relevant(row).items())))
    assert all(len(answers) == 1 for answers in relevant.values())  # all versions of a question have the same documents
    documents_of = {question: dict(answers.pop()) for question, answers in relevant.items()}
    assert Counter(len(documents) for documents in documents_of.values()) == expected
    for question, documents in documents_of.items():  # a document in each language that has the question
        assert Counter(document[:2] for document in documents) == dict.fromkeys(versions[question], 1)
        assert set(documents.values()) == {1}


@pytest.mark.parametrize(("name", "distinct", "shared"), [("xquad-r", 13000, 3), ("mlqa-r", 20496, 15)])
def test_equal_sentences_stay_separate_candidates(collections, name, distinct, shared):
    languages = defaultdict(set)
    for document in collections[name].documents:
        languages[document.text].add(document.language)
    assert len(languages) == distinct
    assert sum(len(codes) > 1 for codes in languages.values()) == shared


@pytest.mark.parametrize(("name", "repeated"), [("xquad-r", 66), ("mlqa-r", 0)])
def test_equal_questions_stay_separate_queries(collections, files, name, repeated):
    raw = Counter(
        (code, question["question"])
        for code, path in files[name].items()
        for _, _, paragraph in raw_paragraphs(path)
        for question in paragraph["qas"]
    )
    read = Counter((query.language, query.text) for query in collections[name].queries)
    assert raw == read
    assert sum(count - 1 for count in read.values()) == repeated


@pytest.mark.parametrize(("name", "crossing"), [("xquad-r", 112), ("mlqa-r", 25)])
def test_answer_starts_in_relevant_sentence(collections, files, name, crossing):
    collection = collections[name]
    row = {query.id: index for index, query in enumerate(collection.queries)}
    over_a_break = 0
    for code, path in files[name].items():
        for number, index, paragraph in raw_paragraphs(path):
            for question in paragraph["qas"]:
                start, answer = question["answers"][0]["answer_start"], question["answers"][0]["text"]
                [sentence] = [
                    position
                    for position, (first, last) in enumerate(paragraph["sentence_breaks"])
                    if first <= start < last
                ]
                relevant = collection.relevant(row[f"{code}-{question['id']}"])
                assert f"{code}-{number:02d}-{index:03d}-{sentence:03d}" in relevant
                over_a_break += start + len(answer) > paragraph["sentence_breaks"][sentence][1]
    assert over_a_break == crossing


def test_language_pairs_of_mlqa_r_are_uneven(collections):
    questions = defaultdict(set)
    for query in collections["mlqa-r"].queries:
        questions[query.language].add(query.question)
    others = [code for code in questions if code != "en"]
    assert all(questions[code] < questions["en"] for code in others)
    shared = {frozenset((x, y)): len(questions[x] & questions[y]) for x in others for y in others if x != y}
    assert len(shared) == 15
    assert (min(shared.values()), max(shared.values())) == (161, 207)
    assert shared[frozenset(("ar", "de"))] == 207
    assert shared[frozenset(("es", "zh"))] == 161


@pytest.mark.parametrize(("name", "expected"), [("xquad-r", "be30ad47a30a1149"), ("mlqa-r", "2363ad7b53d9fbf2")])
def test_fingerprint(collections, name, expected):
    assert collections[name].fingerprint == expected


# Texts


@both
def test_sentences_are_cut_by_offsets_and_stripped(collections, files, name):
    texts = {document.id: document.text for document in collections[name].documents}
    differing = []
    for code, path in files[name].items():
        for number, index, paragraph in raw_paragraphs(path):
            for position, (start, end) in enumerate(paragraph["sentence_breaks"]):
                key = f"{code}-{number:02d}-{index:03d}-{position:03d}"
                text = texts.pop(key)
                assert text == paragraph["context"][start:end].strip()
                if text != paragraph["sentences"][position].strip():
                    differing.append(key)
    assert texts == {}
    assert differing == (["tr-09-003-002", "tr-09-003-003"] if name == "xquad-r" else [])


def test_turkish_sentences_differ_from_listed_sentences(collections):
    texts = {document.id: document.text for document in collections["xquad-r"].documents}
    assert texts["tr-09-003-002"] == (
        "Ancak, eyaletler arası ana hatlar ve bunun yanı sıra eyaletin batısındaki bir dizi iltisak hattı 1.435 mm "
        "(4 ft 8 1â\x81„2 in) standart demir yoluna dönüştürülmüştü"
    )
    assert texts["tr-09-003-003"] == (
        ". İki turistik demir yolu, dağlık bölgelerde inşa edilmiş, önceden devlete ait olan beş hattın kalıntıları "
        "olan 760 mm (2 ft 6 in) dar demir yolu üzerinde faaliyet göstermektedi"
    )


def test_relevant_sentences_of_real_question(collections):
    collection = collections["xquad-r"]
    rows = {query.id: row for row, query in enumerate(collection.queries)}
    texts = {document.id: document.text for document in collection.documents}
    asked = [collection.queries[rows[f"{code}-56e0bb9f7aa994140058e6ce"]] for code in ("en", "de")]
    assert [query.text for query in asked] == [
        "When did people once again start to show an interest in Tesla?",
        "Seit wann haben die Menschen wieder damit begonnen, sich für Tesla zu interessieren?",
    ]
    assert {query.question for query in asked} == {"56e0bb9f7aa994140058e6ce"}
    relevant = collection.relevant(rows[asked[0].id])
    assert relevant == collection.relevant(rows[asked[1].id])
    assert {document: texts[document] for document in relevant if document[:2] in ("de", "en", "th")} == {
        "de-03-000-007": "Seit den 90er Jahren gibt es ein Wiederaufleben an öffentlichem Interesse an Tesla.",
        "en-03-000-004": "There has been a resurgence in popular interest in Tesla since the 1990s.",
        "th-03-000-002": "ว่าเทสลาเพื่อเป็นเกียรติแก่เขา ผู้คนกลับมาสนใจในตัวเทสลาอีกครั้งในยุค 1990",
    }


@both
def test_sentence_with_context(collections, with_context, files, name):
    alone, together = collections[name], with_context[name]
    assert together.queries == alone.queries
    assert [document.id for document in together.documents] == [document.id for document in alone.documents]
    assert (together.qrels.documents == alone.qrels.documents).all()
    assert together.fingerprint != alone.fingerprint
    contexts = {
        f"{code}-{number:02d}-{index:03d}": paragraph["context"].strip()
        for code, path in files[name].items()
        for number, index, paragraph in raw_paragraphs(path)
    }
    for sentence, document in zip(alone.documents, together.documents, strict=True):
        assert document.text == f"{sentence.text} {contexts[document.id[:-4]]}"


# Small files

CONTEXT = " The sky is blue.  Grass is green.   "
BREAKS = [[0, 17], [19, 34]]


def question(key="q1", text="Which colour has grass?", start=28, answer="green"):
    return {"id": key, "question": text, "answers": [{"answer_start": start, "text": answer}]}


def paragraph(context=CONTEXT, breaks=BREAKS, questions=None):
    return {"context": context, "sentence_breaks": breaks, "qas": [question()] if questions is None else questions}


@pytest.fixture
def read(tmp_path):
    """Read paragraphs, or any content of a file, as the only article in English."""

    def read(*paragraphs, content=None, candidate="sentence"):
        path = tmp_path / "en.json"
        content = {"data": [{"title": "t", "paragraphs": list(paragraphs)}]} if content is None else content
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return read_lareqa("demo", {"en": path}, candidate)

    return read


def test_small_file(read):
    collection = read(paragraph(questions=[question(), question("q2", "  What is blue? ", 5, "sky")]))
    assert [document[:] for document in collection.documents] == [
        ("en-00-000-000", "en", "The sky is blue."),
        ("en-00-000-001", "en", "Grass is green."),
    ]
    assert [query.text for query in collection.queries] == ["Which colour has grass?", "  What is blue? "]
    assert collection.relevant(0) == {"en-00-000-001": 1}
    assert collection.relevant(1) == {"en-00-000-000": 1}


def test_small_file_with_context(read):
    collection = read(paragraph(), candidate="sentence+context")
    assert [document.text for document in collection.documents] == [
        "The sky is blue. The sky is blue.  Grass is green.",
        "Grass is green. The sky is blue.  Grass is green.",
    ]


@pytest.mark.parametrize(
    ("start", "answer", "sentence"), [(0, " The", 0), (16, ".", 0), (19, "Grass", 1), (33, ".", 1)]
)
def test_sentence_includes_start_but_not_end(read, start, answer, sentence):
    collection = read(paragraph(questions=[question(start=start, answer=answer)]))
    assert collection.relevant(0) == {f"en-00-000-00{sentence}": 1}


def test_answer_over_break_belongs_to_first_sentence(read):
    collection = read(paragraph(questions=[question(start=12, answer="blue.  Grass")]))
    assert collection.relevant(0) == {"en-00-000-000": 1}


def test_first_of_several_answers_counts(read):
    several = question("q1", start=5, answer="sky")
    several["answers"].append({"answer_start": 28, "text": "green"})
    collection = read(paragraph(questions=[several]))
    assert len(collection.queries) == 1
    assert collection.relevant(0) == {"en-00-000-000": 1}


def test_versions_of_question_share_sentences(tmp_path):
    for code, context, answer in (("en", "Grass is green.", "green"), ("de", "Gras ist grün.", "grün")):
        fields = paragraph(context, [[0, len(context)]], [question(start=context.index(answer), answer=answer)])
        (tmp_path / f"{code}.json").write_text(json.dumps({"data": [{"paragraphs": [fields]}]}))
    collection = read_lareqa("demo", {code: tmp_path / f"{code}.json" for code in ("en", "de")})
    assert [query.id for query in collection.queries] == ["de-q1", "en-q1"]
    assert collection.relevant(0) == collection.relevant(1) == {"de-00-000-000": 1, "en-00-000-000": 1}


# Errors


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value: line 1 column 1 (char 0)"),
        (b'{"data": [{"paragr', "Unterminated string starting at: line 1 column 12 (char 11)"),
        (b'{"data": [\xff]}', "'utf-8' codec can't decode byte 0xff in position 10: invalid start byte"),
        (b"[" * 100_000, ""),
        (b"[]", "list indices must be integers or slices, not str"),
        (b"{}", "no field 'data'"),
    ],
)
def test_other_json_is_refused(read, tmp_path, content, reason):
    with pytest.raises(DataError) as caught:
        read(content=content)
    assert str(caught.value).startswith(f"{tmp_path / 'en.json'} is not a LAReQA file ({reason}")
    assert str(caught.value).endswith("): fetch it again")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"data": 7}, "'int' object is not iterable"),
        ({"data": [{}]}, "no field 'paragraphs'"),
        ({"data": [7]}, "'int' object is not subscriptable"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, "no field 'context'"),
        ({"data": [{"paragraphs": [{"context": "a", "qas": []}]}]}, "no field 'sentence_breaks'"),
        ({"data": [{"paragraphs": [paragraph(breaks=[[0]])]}]}, "not enough values to unpack (expected 2, got 1)"),
        (
            {"data": [{"paragraphs": [paragraph(breaks=[["a", "b"]])]}]},
            "'str' object cannot be interpreted as an integer",
        ),
        ({"data": [{"paragraphs": [paragraph(questions=[{"id": "q1"}])]}]}, "no field 'answers'"),
        ({"data": [{"paragraphs": [paragraph(questions=[{"answers": [{"text": "a"}]}])]}]}, "no field 'id'"),
        (
            {"data": [{"paragraphs": [paragraph(questions=[{**question(), "answers": [7]}])]}]},
            "'int' object is not subscriptable",
        ),
    ],
)
def test_other_layout_is_refused(read, tmp_path, content, reason):
    with pytest.raises(DataError) as caught:
        read(content=content)
    assert str(caught.value) == f"{tmp_path / 'en.json'} is not a LAReQA file ({reason}): fetch it again"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"questions": [question(start=29)]},
            "the answer of question 'q1' is not at character 29 of its paragraph",
        ),
        (
            {"questions": [question(start=1000)]},
            "the answer of question 'q1' is not at character 1000 of its paragraph",
        ),
        (
            {"questions": [question(start=-9, answer="")]},
            "the answer of question 'q1' is not at character -9 of its paragraph",
        ),
        (
            {"questions": [question(start=-1, answer=" ")]},
            "the answer of question 'q1' is not at character -1 of its paragraph",
        ),
        (
            {"questions": [question(start=-37, answer=" The")]},  # counted from the end it would be there
            "the answer of question 'q1' is not at character -37 of its paragraph",
        ),
        (
            {"questions": [question(start=17, answer="  Grass")]},
            "the answer of question 'q1' is not in a sentence of its paragraph",
        ),
        (
            {"breaks": [[0, 17]]},
            "the answer of question 'q1' is not in a sentence of its paragraph",
        ),
        ({"breaks": [[0, 17], [19, 38]]}, "paragraph en-00-000 has a sentence break outside its 37 characters"),
        ({"breaks": [[-1, 17], [19, 34]]}, "paragraph en-00-000 has a sentence break outside its 37 characters"),
        ({"breaks": [[0, 17], [19, 19]]}, "paragraph en-00-000 has a sentence break outside its 37 characters"),
        (
            {"questions": [question(), {**question("q2"), "answers": []}]},
            "paragraph en-00-000 has a question without an answer",
        ),
    ],
)
def test_contradictory_paragraph_is_refused(read, tmp_path, fields, message):
    with pytest.raises(DataError) as caught:
        read(paragraph(**fields))
    assert str(caught.value) == f"{tmp_path / 'en.json'}: {message}"


def test_blank_sentence_is_refused(read):
    with pytest.raises(DataError, match="demo has an empty document, 'en-00-000-002'"):
        read(paragraph(breaks=[*BREAKS, [35, 37]]))


def test_repeated_question_id_is_refused(read):
    with pytest.raises(DataError, match="demo has the query id 'en-q1' twice"):
        read(paragraph(), paragraph())


def test_file_without_paragraphs_is_refused(read):
    with pytest.raises(DataError, match="demo has no query: its source is empty"):
        read()


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError) as caught:
        read_lareqa("demo", {"en": tmp_path / "en.json"})
    assert str(caught.value) == f"cannot read {tmp_path / 'en.json'}: No such file or directory"
