"""Write the gold passages of AfriQA as folders in BEIR's layout, which the task `afriqa` reads.

    git clone https://github.com/masakhane-io/afriqa && git -C afriqa checkout 5c29933753692c28773c34ac1f68482007f1d2bb
    python examples/afriqa.py afriqa/ $HBT_BENCH_DATA
    hbt-bench run --model bm25 --tasks afriqa

Questions are in an African language, passages in English, for Fon in French. Rows without a passage are left out.
"""

import json
import sys
from pathlib import Path

LANGUAGES = {
    "bem": "en",
    "fon": "fr",
    "hau": "en",
    "ibo": "en",
    "kin": "en",
    "swa": "en",
    "twi": "en",
    "yor": "en",
    "zul": "en",
}


def convert(clone: Path, output: Path) -> None:
    """Write ``<output>/afriqa/<question language>-<passage language>`` for each language of the clone."""
    for asked, answered in LANGUAGES.items():
        name = f"gold_span_passages.afriqa.{asked}.{answered}.test.json"
        text = (clone / "data" / "gold_passages" / asked / name).read_text("utf-8")
        rows = [row for row in map(json.loads, text.splitlines()) if row["context"]]
        passages = {(row["title"], row["context"]): f"{asked}-{row['id']}" for row in reversed(rows)}
        folder = output / "afriqa" / f"{asked}-{answered}"
        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        corpus = [{"_id": key, "title": title, "text": body} for (title, body), key in reversed(passages.items())]
        queries = [{"_id": row["id"], "text": row["question_lang"]} for row in rows]
        judged = [f"{row['id']}\t{passages[row['title'], row['context']]}\t1\n" for row in rows]
        for file, entries in (("corpus.jsonl", corpus), ("queries.jsonl", queries)):
            lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries]
            (folder / file).write_text("".join(lines), "utf-8", newline="\n")
        (folder / "qrels" / "test.tsv").write_text(
            "query-id\tcorpus-id\tscore\n" + "".join(judged), "utf-8", newline="\n"
        )


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
