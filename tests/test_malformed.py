"""Task files and data files with one mistake each, and the parts of the message that matter."""

from __future__ import annotations

import gzip
import random
import re
import time

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hbt_bench.data import lines, records
from hbt_bench.errors import DataError, HbtBenchError
from hbt_bench.tasks.folders import Folder

HEAD = "name: t\n"
FLAT = HEAD + (
    "source:\n  kind: jsonl\n  path: d.jsonl\n  languages: [en, de]\n  parallel: true\n"
    "  columns: {id: id, language: lang, query: q, document: d}\n"
)
WIDE = HEAD + (
    "source:\n  kind: jsonl\n  path: d.jsonl\n  languages: [en, de]\n"
    "  columns: {id: id, query: 'x.{language}.q', document: 'x.{language}.d'}\n"
)
BITEXT = HEAD + (
    "source:\n  kind: bitext\n  path: d.jsonl\n  languages: [en, de]\n  columns: {id: id, text: 'x.{language}'}\n"
)
CSV = HEAD + ("source:\n  kind: csv\n  path: d.csv\n  languages: [en]\n  columns: {query: q, document: d}\n")
BEIR = HEAD + "source: {kind: beir, path: b, languages: [en]}\n"
HUB = HEAD + "source: {kind: hub, path: a/b, revision: REV, languages: [en], columns: {query: q, document: d}}\n"

#: The mistake, the YAML, and the message after the file's path, with "..." for any text.
YAML = {
    "a list as a key": ("? [a, b]\n", ":1:3: ... key ..."),
    "a list as a key in braces": ("{[a]: b}\n", ":1:2: ... key ..."),
    "a tag of YAML's own": (
        "a: !!int ''\n",
        ":1:4: ...'int' ...",
    ),
    "a time that is none": (
        "a: !!timestamp abc\n",
        ":1:4: ...'timestamp' ...",
    ),
    "keys in keys": ("? " * 100_000, ":1:101: ... 50 ..."),
    "lists in lists": ("-  " * 80_000, ":1:151: ... 50 ..."),
    "no mapping": ("[]", ":1:1: ... must be a mapping...`key: value`..."),
    "empty": ("", ":1:1: ... is empty...`key: value`..."),
    "only a comment": ("# x", ":1:1: ... is empty...`key: value`..."),
    "no name": ("source: {kind: cldr}", ":1:1: ...'name' ...'t'..."),
    "another name": ("name: u", ":1:1: ...'u'...'t'..."),
    "no source": (HEAD, ":1:1: ...'source' ..."),
    "no kind": (HEAD + "source: {path: x}", ":2:1: ...'kind' ...source..."),
    "an unknown kind": (
        HEAD + "source: {kind: jsonk}",
        ":2:10: ... 'jsonk'; did you mean 'jsonl'?...lareqa, cldr, jsonl, csv, bitext, beir, hub, retrieval, mteb...",
    ),
    "an unknown key": (HEAD + "sorce: {kind: cldr}", ":2:1: ...'sorce'...; did you mean 'source'?"),
    "a number for an id": (
        FLAT.replace("id: id", "id: 3.5"),
        ":7:13: source.columns.id: ...string...",
    ),
    "a key of the file in metadata": (
        FLAT + "metadata: {titel: x}\n",
        ":8:12: ...'titel' ...metadata...",
    ),
    "unanswered sentences": (
        BITEXT.replace("{id: id", "{id: id, unanswered: true"),
        ":6:3: source.columns: ...unanswered...",
    ),
    "a mistyped key": (
        FLAT.replace("query:", "querry:"),
        ":7:37: ...'querry' ...source.columns; did you mean 'query'?",
    ),
    "a key of another kind": (HEAD + "source: {kind: cldr, path: x}", ":2:22: ...'path' ...source..."),
    "a key twice": (HEAD + "title: a\ntitle: b\n", ":3:1: ...'title' ..."),
    "an open list": (HEAD + "source: [", ":3:1: ...did not find expected node content..."),
    "a tab": (HEAD + "source:\n\tkind: cldr", ":3:1: ...found character that cannot start any token..."),
    "an alias": (
        "name: &n t\ntitle: *n",
        ":1:7: anchors and aliases ...",
    ),
    "billion laughs": (
        "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]",
        ":1:4: anchors and aliases ...",
    ),
    "a Python object": (
        "name: !!python/object/apply:os.system [id]",
        ":1:7: ...'python/object/apply:os.system' ...",
    ),
    "a Python name": (
        "name: !!python/name:os.system",
        ":1:7: ...'python/name:os.system' ...",
    ),
    "a tag of one's own": (
        "name: !x t",
        ":1:7: ...'!x' ...",
    ),
    "two documents": ("name: t\n---\nname: t", ":2:1: ...found another document..."),
    "deep nesting": ("name: " + "[" * 60, ":1:56: ... 50 ..."),
    "deep sequences": ("- - - " * 20, ":1:101: ... 50 ..."),
    "a bad name": (
        HEAD.replace("t", "t") + "source: {kind: cldr, split: tst}",
        ":2:22: source.split: ...'train', 'dev' or 'test'",
    ),
    "an unknown language": (
        FLAT.replace("[en, de]", "[en, german]"),
        ":5:3: source.languages: ...'german'; did you mean 'de'?",
    ),
    "a mistyped language": (
        FLAT.replace("[en, de]", "{en: en, dxe: de}"),
        ":5:3: source.languages: ...'dxe'; did you mean 'de'? A code is a BCP 47 tag...",
    ),
    "no languages": (FLAT.replace("[en, de]", "[]"), ":5:3: source.languages: ...at least one language..."),
    "one code for two": (
        FLAT.replace("[en, de]", "{en: x, de: x}"),
        ":5:3: source.languages: ...same code...",
    ),
    "a path that leaves": (
        FLAT.replace("d.jsonl", "../d.jsonl"),
        ":2:1: source: '../d.jsonl' ...",
    ),
    "an absolute path": (
        FLAT.replace("d.jsonl", "/etc/d.jsonl"),
        ":2:1: source: '/etc/d.jsonl' ...",
    ),
    "a home folder": (
        FLAT.replace("d.jsonl", "~/d.jsonl"),
        ":2:1: source: '~/d.jsonl' ...",
    ),
    "another placeholder": (
        FLAT.replace("d.jsonl", "'{lang}.jsonl'"),
        ":2:1: source: ...placeholder...{language}...",
    ),
    "another ending": (
        FLAT.replace("d.jsonl", "d.json"),
        ":2:1: source: ...jsonl source ... .jsonl... .gz...",
    ),
    "no word on ids": (
        FLAT.replace("  parallel: true\n", ""),
        ":2:1: source: ...`parallel: true`...`parallel: false`...",
    ),
    "parallel without ids": (
        FLAT.replace("id: id, ", ""),
        ":2:1: source: parallel rows need `id` ...",
    ),
    "sentences without ids": (
        BITEXT.replace("{id: id, text: 'x.{language}'}", "{text: t, language: lang}"),
        ":2:1: source: parallel sentences need `id` ...",
    ),
    "sentences that are not parallel": (
        BITEXT.replace("  columns", "  parallel: false\n  columns"),
        ":2:1: source: parallel sentences ...`parallel: false`...",
    ),
    "sentences without sentences": (
        CSV.replace("kind: csv", "kind: bitext"),
        ":2:1: source: ...bitext source ...`text` in columns...",
    ),
    "a language in path and columns": (
        FLAT.replace("d.jsonl", "'{language}.jsonl'"),
        ":2:1: source: {language} in path ...columns...",
    ),
    "no word on languages": (
        FLAT.replace("language: lang, ", ""),
        ":2:1: source: ...{language} in path or columns, or ...`language`",
    ),
    "plain text with ids": (
        BITEXT.replace("d.jsonl", "'{language}.txt'").replace("'x.{language}'", "text"),
        ":2:1: source: plain text needs {language} in path and `columns: {text: text}`...",
    ),
    "a language in split and columns": (
        HUB.replace("REV", "0" * 40).replace("columns: {", "split: '{language}', columns: {language: l, "),
        ":2:1: source: {language} in config or split ...columns...",
    ),
    "no word on the hub's languages": (
        HUB.replace("REV", "0" * 40).replace("[en]", "[de, en], parallel: true").replace("{query", "{id: i, query"),
        ":2:1: source: ...{language} in config, split or columns, or ...`language`...",
    ),
    "no document": (
        FLAT.replace(", document: d", ""),
        ":7:3: source.columns: ...query and document, or text...",
    ),
    "text and query": (
        FLAT.replace("query: q", "text: q"),
        ":7:3: source.columns: text is for parallel sentences...",
    ),
    "language set twice": (
        WIDE.replace("{id: id", "{id: id, language: l"),
        ":6:3: source.columns: ...'language' ...{language}...",
    ),
    "language set in query only": (
        WIDE.replace("x.{language}.d", "d"),
        ":6:3: source.columns: {language} must be in query and in document, or in neither",
    ),
    "no language": (
        FLAT.replace("language: lang, ", ""),
        ":2:1: source: ...{language} in path or columns, or ...`language`",
    ),
    "url without pins": (
        FLAT.replace("  parallel", "  url: 'https://x.org/{path}'\n  parallel"),
        ":2:1: source: url needs pins ...",
    ),
    "plain http": (
        FLAT.replace("  parallel", "  url: 'http://x.org/{path}'\n  parallel"),
        ":2:1: source: url must start with https:// and contain {path}",
    ),
    "a bad hash": (
        FLAT.replace("  parallel", "  pins: {d.jsonl: {sha256: abc}}\n  parallel"),
        ":6:20: source.pins.d.jsonl.sha256: String should match pattern '^[0-9a-f]{64}$'",
    ),
    "a branch for a commit": (
        HUB.replace("REV", "main"),
        ":2:32: source.revision: String should match pattern '^[0-9a-f]{40}$'",
    ),
    "several languages in one folder": (
        BEIR.replace("[en]", "[en, de]"),
        ":2:1: source: several languages need {language} in path; ... the field with their code in `language`",
    ),
    "a language in path and rows": (
        BEIR.replace("path: b", "path: '{language}', language: l"),
        ":2:1: source: the language is given twice...",
    ),
    "a rule for ids without ids": (
        FLAT.replace("  parallel", "  ignore_identical_ids: true\n  parallel"),
        ":2:1: source: ignore_identical_ids needs `document_id` in columns...",
    ),
    "a list of ids for two documents": (
        FLAT.replace("document: d", "document: [d, e], document_id: 'x.*.id'"),
        ":7:3: source.columns: x.*.id is a list, so document must be a list too...",
    ),
    "a mode that cannot be": (
        FLAT.replace("true", "false") + "modes: [cross]\n",
        ":1:1: modes: ...mono, multi...",
    ),
    "a measure that is not": (
        FLAT + "main_score: MAP\n",
        ":8:1: main_score: ...'AP', 'RR', 'nDCG@10', 'R@1', 'R@10' or 'R@100'",
    ),
    "a name that ends in a mode": (
        "MODE",
        ":1:1: name: ...(-mono, -cross, -multi)...",
    ),
}


def message(tmp_path, text, name="t"):
    """Return the error of a task file with this text, or of its data if the file is valid."""
    path = tmp_path / f"{name}.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    folder = Folder.read(path)
    for problem in folder.problems.values():
        return str(problem).removeprefix(str(path))
    with pytest.raises(HbtBenchError) as caught:
        folder.specs[name].load()
    return str(caught.value).replace(f"{tmp_path}/", "")


def fits(message, pattern):
    """Check a message against a pattern in which "..." stands for any text, as in doctests."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("..."))), message)


@pytest.mark.parametrize("case", YAML)
def test_malformed_task_file_is_one_sentence(tmp_path, case):
    text, expected = YAML[case]
    if text == "MODE":
        assert fits(message(tmp_path, FLAT.replace("name: t", "name: t-multi"), "t-multi"), expected)
    else:
        assert fits(message(tmp_path, text), expected)


EN, DE = '{"id": 1, "lang": "en", "q": "Who?", "d": "She."}', '{"id": 1, "lang": "de", "q": "Wer?", "d": "Sie."}'
NO_FIELD = '{"id": 1, "lang": "en", "qq": "Who?", "d": "She."}'

#: The mistake, the YAML, the data file with its content (None: no file), and the message with "..." for any text.
DATA = {
    "no file": (FLAT, "d.jsonl", None, "d.jsonl is missing...--data-dir or HBT_BENCH_DATA"),
    "no JSON": (
        FLAT,
        "d.jsonl",
        f"{EN}\n{{'id': 1}}",
        "d.jsonl:2: ...JSON: Expecting property name enclosed in double quotes at column 2",
    ),
    "half a line": (FLAT, "d.jsonl", EN[:20], "d.jsonl:1: ...JSON: Unterminated string starting at at column 19"),
    "a list": (FLAT, "d.jsonl", "[1]", "d.jsonl:1: ...object...a list"),
    "NaN": (FLAT, "d.jsonl", '{"id": NaN}', "d.jsonl:1: no text or number at 'id'..."),
    "Latin-1": (
        FLAT,
        "d.jsonl",
        b'{"id": "\xe9"}',
        "d.jsonl:1: byte 9 ...not UTF-8...",
    ),
    "nothing": (FLAT, "d.jsonl", "\n", "t has no query..."),
    "other languages": (
        FLAT,
        "d.jsonl",
        EN.replace('"en"', '"fr"'),
        "t has no row in de en...fr",
    ),
    "a field that is not there": (FLAT, "d.jsonl", NO_FIELD, "d.jsonl:1: no field 'q'; did you mean 'qq'?"),
    "no id": (
        FLAT,
        "d.jsonl",
        EN.replace('"id": 1, ', ""),
        "d.jsonl:1: no text or number at 'id'; did you mean 'd'?",
    ),
    "a number for a text": (FLAT, "d.jsonl", EN.replace('"Who?"', "7"), "d.jsonl:1: 'q' must be a text, not 7"),
    "an empty query": (FLAT, "d.jsonl", EN.replace("Who?", " "), "d.jsonl:1: the query is empty in 'en'"),
    "an id twice": (
        FLAT,
        "d.jsonl",
        f"{EN}\n{EN.replace('Who', 'What')}",
        "d.jsonl:2: the query '1' has another text in 'en' than in d.jsonl:1...",
    ),
    "half a character": (
        FLAT,
        "d.jsonl",
        EN.replace("Who?", "\\ud800"),
        "d.jsonl:1: 'q' ...surrogate...",
    ),
    "a question without answer": (
        WIDE,
        "d.jsonl",
        '{"id": 1, "x": {"en": {"q": "Who?"}}}',
        "d.jsonl:1: the question '1' has no document...",
    ),
    "nothing parallel": (
        BITEXT,
        "d.jsonl",
        '{"id": 1, "x": {"en": "a"}}\n{"id": 2, "x": {"de": "b"}}',
        "t has no sentence in two of its languages...",
    ),
    "a broken CSV": (CSV, "d.csv", "q,d\na,b,c\n", "d.csv:2: 3 cells...the header has 2..."),
    "an open quote": (
        CSV,
        "d.csv",
        'q,d\n"a,b\nc,d\n',
        "d.csv:2: not CSV: a quotation mark opens a cell that does not end (unexpected end...`quoting: none`...",
    ),
    "a column twice": (CSV, "d.csv", "q,q\na,b\n", "d.csv:1: the column 'q' ..."),
    "an empty CSV": (CSV, "d.csv", "", "d.csv is empty..."),
    "no gzip": (
        FLAT.replace("d.jsonl", "d.jsonl.gz"),
        "d.jsonl.gz",
        "text",
        "d.jsonl.gz is a damaged archive (Not a gzipped file (b'te'))...",
    ),
    "half a gzip": (
        FLAT.replace("d.jsonl", "d.jsonl.gz"),
        "d.jsonl.gz",
        gzip.compress(EN.encode(), mtime=0)[:-9],
        "d.jsonl.gz is a damaged archive (Compressed file ended ...",
    ),
    "a folder for a file": (FLAT, "d.jsonl/x", "", "cannot read d.jsonl: Is a directory"),
    "another file": (FLAT + "", "d.jsonl", EN, "d.jsonl has sha256"),
}


@pytest.mark.parametrize("case", DATA)
def test_malformed_data_file_is_one_sentence(tmp_path, case):
    text, name, content, expected = DATA[case]
    if content is not None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if case == "another file":
        text = text.replace("  parallel", f"  pins: {{d.jsonl: {{sha256: '{'0' * 64}'}}}}\n  parallel")
        expected = "checksum mismatch: d.jsonl has sha256 e03c30ad10d7…, expected 000000000000…...'t'..."
    assert fits(message(tmp_path, text), expected)


def beir(tmp_path, corpus='{"_id": "d1", "text": "t"}', queries='{"_id": "q1", "text": "q"}', qrels="q1\td1\t1"):
    (tmp_path / "b" / "qrels").mkdir(parents=True)
    (tmp_path / "b" / "corpus.jsonl").write_text(corpus)
    (tmp_path / "b" / "queries.jsonl").write_text(queries)
    (tmp_path / "b" / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{qrels}\n")
    return message(tmp_path, BEIR)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"corpus": '{"text": "t"}'}, "b/corpus.jsonl:1: ...'_id'"),
        ({"corpus": '{"_id": "d1"}'}, "b/corpus.jsonl:1: ...'text'"),
        ({"corpus": '{"_id": "d1", "text": "t"}\n' * 2}, "b/corpus.jsonl:2: the id 'd1' ..."),
        ({"qrels": "q1\td1"}, "b/qrels/test.tsv:2: 2 columns..."),
        ({"qrels": "q1\td1\tyes"}, "b/qrels/test.tsv:2: the grade 'yes' ..."),
        ({"qrels": "q1\td1\t--5"}, "b/qrels/test.tsv:2: the grade '--5' ..."),
        ({"qrels": "q1\td1\t5-"}, "b/qrels/test.tsv:2: the grade '5-' ..."),
        ({"qrels": "q1\td1\t32768"}, "b/qrels/test.tsv:2: the grade 32768 is above 32767"),
        ({"qrels": f"q1\td1\t{'9' * 5000}"}, f"b/qrels/test.tsv:2: the grade '{'9' * 20}' ..."),
        ({"corpus": '{"_id": "\\ud800", "text": "t"}'}, "b/corpus.jsonl:1: '_id' ...surrogate..."),
        ({"queries": '{"_id": "q\\udc00", "text": "q"}'}, "b/queries.jsonl:1: '_id' ...surrogate..."),
        ({"qrels": "q1\td1\t1\nq1\td1\t2"}, "b/qrels/test.tsv:3: query 'q1' and document 'd1' ...twice"),
        (
            {"qrels": "q1\td9\t1"},
            "t: query 'q1' names the document 'd9', which does not exist in 'en': ...remove the judgement...",
        ),
        ({"qrels": "q9\td1\t1"}, "t judges the query 'q9', which does not exist in 'en': ...remove its judgements..."),
        ({"qrels": "q1\td1\t0"}, "t has no query..."),
        ({"queries": '{"_id": "q1", "text": " "}'}, "t has an empty query, 'en-q-q1'..."),
    ],
)
def test_malformed_beir_folder_is_one_sentence(tmp_path, files, expected):
    assert fits(beir(tmp_path, **files), expected)


def test_link_out_of_folder_is_refused(tmp_path):
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tmp_path / "secret.jsonl").write_text(EN)
    (tasks / "d.jsonl").symlink_to(tmp_path / "secret.jsonl")
    assert message(tasks, FLAT).startswith(f"d.jsonl leads out of {tasks}")
    folder = tasks / "sub"
    folder.symlink_to(tmp_path)
    assert "leads out of" in message(tasks, FLAT.replace("d.jsonl", "sub/secret.jsonl"))
    (tasks / "real.jsonl").write_text(f"{EN}\n{DE}\n")
    (tasks / "d.jsonl").unlink()
    (tasks / "t.yaml").write_text(FLAT)
    (tasks / "d.jsonl").symlink_to("real.jsonl")  # a link that stays in the folder is followed
    assert len(Folder.read(tasks / "t.yaml").specs["t"].load().queries) == 2


def test_gzip_bomb_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "FREE_BYTES", 1 << 20)
    line = ('{"id": 1, "lang": "en", "q": "' + " " * 1000 + 'w", "d": "x"}\n').encode()
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(line * 5000, mtime=0))
    assert (tmp_path / "d.jsonl.gz").stat().st_size < 20_000  # of 5 million
    expected = "d.jsonl.gz ...more than 1 MiB, 100 times its size..."
    assert fits(message(tmp_path, FLAT.replace("d.jsonl", "d.jsonl.gz")), expected)


def test_endless_line_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE", 1 << 20)
    (tmp_path / "d.jsonl").write_text('{"id": "' + "x" * (1 << 21))
    assert message(tmp_path, FLAT) == "d.jsonl:1: the line is longer than 1 MiB"


def test_header_of_many_columns_is_quick(tmp_path):
    """100,000 columns took minutes when each was compared with all others."""
    header = ",".join(f"c{number}" for number in range(100_000))
    for text, expected in (
        (f"{header},c99999\n", "d.csv:1: the column 'c99999' "),
        (f"{header}\nx\n", "d.csv:2: 1 cells.* the header has 100000"),
    ):
        (tmp_path / "d.csv").write_text(text)
        started = time.process_time()
        with pytest.raises(DataError, match=expected):
            list(records.read_rows(tmp_path / "d.csv"))
        assert time.process_time() - started < 10


def test_large_task_file_is_refused(tmp_path):
    assert "256 KiB" in message(tmp_path, HEAD + "#" * (257 << 10))


YAML_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["en", "{language}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["kind", "path", "languages", "columns", "parallel", "pins", "url", "split", "revision", "task", "name", "expect"]
)
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@SLOW
@given(
    kind=st.sampled_from(["jsonl", "csv", "bitext", "beir", "hub", "mteb", "lareqa"]),
    source=st.dictionaries(KEYS, YAML_VALUES, max_size=5),
    more=st.dictionaries(
        st.sampled_from(["title", "modes", "expect", "metadata", "extends", "main_score"]), YAML_VALUES, max_size=2
    ),
)
def test_any_yaml_is_valid_or_refused(tmp_path_factory, kind, source, more):
    path = tmp_path_factory.mktemp("any") / "t.yaml"
    path.write_text(yaml.safe_dump({"name": "t", "source": {**source, "kind": kind}, **more}))
    folder = Folder.read(path)
    assert len(folder.specs) + len(folder.problems) == 1
    for problem in folder.problems.values():
        assert str(problem).startswith(str(path))
        assert "\n" not in str(problem)


@SLOW
@given(text=st.text(max_size=200) | st.text(alphabet="&*!-[]{}:,'\" \nabc", max_size=200))
def test_any_text_is_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "t.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert list(Folder.read(path).problems) == ["t"]


@SLOW
@given(
    data=st.binary(max_size=300)
    | st.lists(st.dictionaries(st.sampled_from(["id", "lang", "q", "d"]), YAML_VALUES, max_size=4), max_size=4).map(
        lambda rows: "\n".join(yaml.safe_dump(row, default_flow_style=True).replace("\n", " ") for row in rows).encode()
    ),
    seed=st.integers(0, 2**32),
)
def test_any_data_is_read_or_refused(tmp_path_factory, data, seed):
    folder = tmp_path_factory.mktemp("any")
    good = bytearray(f"{EN}\n{DE}\n".encode())
    chance = random.Random(seed)
    for _ in range(chance.randrange(4)):  # a good file with a few bytes changed
        good[chance.randrange(len(good))] = chance.randrange(256)
    (folder / "t.yaml").write_text(FLAT)
    for content in (data, bytes(good)):
        (folder / "d.jsonl").write_bytes(content)
        refusal = ""
        try:
            Folder.read(folder / "t.yaml").specs["t"].load()
        except HbtBenchError as error:
            refusal = str(error)
        assert "\n" not in refusal


def test_unknown_file_type_is_refused(tmp_path):
    (tmp_path / "d.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"d\.parquet .*\.jsonl, \.csv, \.tsv"):
        list(records.read_rows(tmp_path / "d.parquet"))


def test_unknown_key_with_a_line_end_is_named_on_one_line(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump({"name": "t", "source": {"kind": "cldr-facts"}, "expect": {"a\nb": 1}}))
    (problem,) = Folder.read(path).problems.values()
    assert "\n" not in str(problem)
    assert "'a b'" in str(problem)
