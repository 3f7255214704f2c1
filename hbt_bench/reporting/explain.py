"""What a signature says, part by part, and the command that makes the number again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hbt_bench.errors import UsageError
from hbt_bench.reporting.result import Result
from hbt_bench.tasks.registry import task_names
from hbt_bench.tasks.spec import TaskSpec

#: The parts that every signature has.
_NEEDED = ("task", "text", "data", "model", "prompt", "ties")
_MODES = {
    "mono": "queries of each language search the documents of the same language",
    "cross": "queries of each language search the documents of one other language, every ordered pair",
    "multi": "queries of each language search the documents of all languages in one pool",
}
_TEXTS = {
    "sentence": "a candidate is the sentence alone",
    "sentence+context": "a candidate is the sentence and its paragraph",
    "mteb": "a task of MTEB's own, with MTEB's texts",
}
_TIES = {
    "docid-desc": "equal float32 scores are ranked by document id, descending, as trec_eval does",
    "mteb": "equal scores are ranked as MTEB does",
}


@dataclass(frozen=True)
class Explanation:
    """`parts` are field, value and meaning; `setup` and `command` make the number again; `notes` are what they need."""

    parts: tuple[tuple[str, str, str], ...]
    setup: str
    command: str
    notes: tuple[str, ...]


def parse_signature(text: str) -> dict[str, str]:
    """The fields of a signature; raise `UsageError` for a text that is none, or lacks a part."""
    parts = [part.partition(":") for part in text.strip().strip("`").split("|")]
    fields = {name: value for name, colon, value in parts if colon}
    if "task" not in fields:
        raise UsageError(
            f"'{text[:60]}' is no file, and no signature, which begins with task: (copy all of it, in quotes)"
        )
    missing = [name for name in _NEEDED if not fields.get(name)]
    if missing:
        raise UsageError(f"the signature has no {' and no '.join(missing)}: it was cut, copy all of it, in quotes")
    return fields


def explain(fields: Mapping[str, str], result: Result | None = None) -> Explanation:
    """Explain a signature; with the `result` that it stands in, its prompts are known too."""
    task, _, part = fields["task"].partition("[")
    languages = part.rstrip("]")
    spec, modes = task_names().get(task, (None, ()))
    name, _, revision = fields["model"].rpartition("@")
    revision, options_of_model = _marks(revision)
    model, revision_meaning, notes = _model(name, revision)
    command = ["hbt-bench", "run", "--model", model, *options_of_model]
    if revision_meaning == _COMMIT:
        command += ["--revision", revision]
    command += ["--tasks", task]
    if languages:
        command += ["--languages", languages]
    prompt, options = _prompts(fields["prompt"], result)
    if fields["text"] != "mteb" and spec is None:
        notes.append(f"this installation has no task {task}: install the version that the signature names")
    where = f"the languages {languages.replace(',', ' ')} alone, so another pool; " if languages else ""
    meaning = {
        "task": where
        + (f"{_title(spec)}: {_MODES[modes[0]]}" if spec and len(modes) == 1 else "see MTEB's documentation"),
        "text": _TEXTS.get(fields["text"], "what a candidate's text is"),
        "data": "MTEB's revision of the data set"
        if fields["text"] == "mteb"
        else f"hash of texts and judgements; `hbt-bench data verify {spec.name if spec else task}` prints it",
        "model": revision_meaning,
        "prompt": prompt,
        "ties": _TIES.get(fields["ties"], "how equal scores are ranked"),
        "hbt": "version of hbt-bench",
        "mteb": "version of mteb",
    }
    parts = tuple((key, value, meaning.get(key, "unknown to this version")) for key, value in fields.items())
    versions = [
        f"{program}=={fields[key]}" for key, program in (("hbt", "hbt-bench"), ("mteb", "mteb")) if key in fields
    ]
    setup = "pip install " + " ".join(versions) if versions else ""
    return Explanation(parts, setup, shlex.join([*command, *options]), tuple(notes))


_COMMIT = "name on the hub, and its commit"


def _title(spec: TaskSpec) -> str:
    return spec.title


def _marks(revision: str) -> tuple[str, list[str]]:
    """A revision without its marks, and the options that they stand for."""
    found = re.search(r"(-remote-code)?(?:-(fp16|bf16))?$", revision)
    assert found is not None
    code, dtype = found.groups()
    options = ["--trust-remote-code"] * bool(code) + (["--dtype", dtype] if dtype else [])
    return revision[: found.start()], options


def _model(name: str, revision: str) -> tuple[str, str, list[str]]:
    """How a model is named on the command line, what its revision is, and what one must know."""
    if name == "hbt-bench/bm25":
        return "bm25", "the lexical baseline, and its parameters k1 and b", []
    if name.startswith("local/"):
        meaning = "a local folder, and the hash of the files that make the model"
        note = f"the model is the folder named {name.removeprefix('local/')} whose files hash to {revision}"
        return f"path/to/{name.removeprefix('local/')}", meaning, [note]
    return name, _COMMIT, []


def _prompts(label: str, result: Result | None) -> tuple[str, list[str]]:
    """What the label of the prompts means, and the options that give them."""
    known = result.prompts if result else None
    by_hand = result is not None and result.path.parent.parent.name == "experiments"
    if label == "none":
        return "nothing is put before queries and documents", []
    if label == "model":
        return "the prompts that the named model comes with", []
    if known is None:
        return "hash of the texts before queries and documents: the model's own, or given by hand", []
    texts = f"before queries {known['query']!r}, before documents {known['document']!r}"
    if not by_hand:
        return f"{texts}, from the model's configuration", []
    options = [word for role in ("query", "document") for word in (f"--{role}-prompt", known[role]) if known[role]]
    return f"{texts}, given by hand", options if len(options) % 2 == 0 else []


def find(given: str) -> tuple[dict[str, str], Result | None]:
    """A signature, or the one in a result's file."""
    try:
        path = Path(given)
        is_file = path.is_file()
    except OSError:  # a signature may be too long for a file's name
        is_file = False
    if not is_file:
        if given.endswith(".json"):
            raise UsageError(f"there is no file {given}: name a result, as in results/<model>/<revision>/<Task>.json")
        return parse_signature(given), None
    result = Result.read(path)
    return parse_signature(result.signature), result
