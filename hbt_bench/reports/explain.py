"""What a signature says, part by part, and the command that makes the number again."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hbt_bench.data.query_shift import Shift
from hbt_bench.errors import HbtBenchError, UsageError
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.results.result import Result
from hbt_bench.tasks.registry import find_anywhere

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
    base, part, shifts = _named(fields["task"])
    stock = fields["text"] == "mteb"
    found = None if stock else find_anywhere(base)
    name, _, revision = fields["model"].rpartition("@")
    revision, dtype = _precision(revision)
    model, revision_meaning, notes = _model(name, revision)
    prompt, prompts = _prompts(fields["prompt"], result, notes)
    command = ["hbt-bench", "run", *model, *dtype, "--tasks", fields["task"]]
    if found and found.folder:
        command += ["--task-dir", _short(found.folder)]
    elif not found and not stock:
        command += ["--task-dir", "path/to/tasks"]
        notes.append(
            f"this installation has no task {base}: put the folder that has its file {base.rpartition('-')[0]}.yaml in "
            "the place of path/to/tasks (`hbt-bench show --task-dir FOLDER` does), or install the version that is named"
        )
    where = f"the languages {part.replace(',', ' ').replace('>', ' against ')} alone, so another pool; " if part else ""
    changed = f"; queries changed by {' and '.join(map(str, shifts))}" if shifts else ""
    known = (
        f"{found.spec.title}: {_MODES[found.modes[0]]}" if found else "see MTEB's documentation" if stock else "a task"
    )
    verify = (
        f"; `hbt-bench data verify {found.spec.name}` prints it"
        if found and not (found.folder or part or shifts)
        else ""
    )
    meaning = {
        "task": where + known + changed,
        "text": _TEXTS.get(fields["text"], "what a candidate's text is"),
        "data": "MTEB's revision of the data set" if stock else f"hash of texts and judgements{verify}",
        "model": revision_meaning,
        "prompt": prompt,
        "ties": _TIES.get(fields["ties"], "how equal scores are ranked"),
        "hbt": "version of hbt-bench",
        "mteb": "version of mteb",
    }
    parts = tuple((key, value, meaning.get(key, "unknown to this version")) for key, value in fields.items())
    own = "hbt-bench[bm25]" if name == _BM25 else "hbt-bench"
    versions = [f"{program}=={fields[key]}" for key, program in (("hbt", own), ("mteb", "mteb")) if key in fields]
    setup = f"pip install {shlex.join(versions)}" if versions else ""
    return Explanation(parts, setup, shlex.join([*command, *prompts]), tuple(notes))


_COMMIT = "name on the hub, and its commit"
_BM25 = "hbt-bench/bm25"
#: What MTEB says of a model without a commit, and what a run with ``--trust-remote-code`` adds to one.
_NO_REVISION, _CODE = "no_revision_available", "-remote-code"


def _named(task: str) -> tuple[str, str, tuple[Shift, ...]]:
    """``xquad-r-multi[de,en]+typos`` as name, languages and shifts."""
    name, *shifts = task.split("+")
    base, _, part = name.partition("[")
    try:
        return base, part.rstrip("]"), tuple(Shift.parse(one) for one in shifts)
    except UsageError:  # of another version
        return base, part.rstrip("]"), ()


def _precision(revision: str) -> tuple[str, list[str]]:
    """A revision without the mark of ``--dtype``, and that option."""
    base, _, last = revision.rpartition("-")
    return (base, ["--dtype", last]) if base and last in ("fp16", "bf16") else (revision, [])


def _short(path: Path) -> str:
    """A path as it is typed: from here, if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _model(name: str, revision: str) -> tuple[list[str], str, list[str]]:
    """The options that name a model on the command line, what its revision is, and what one must know."""
    if name == _BM25:
        return ["--model", f"bm25@{revision}"], "the lexical baseline, and its parameters k1 and b", []
    code = ["--trust-remote-code"] if revision.endswith(_CODE) else []
    revision = revision.removesuffix(_CODE)
    if name.startswith("local/"):
        folder = name.removeprefix("local/")
        meaning = "a local folder, and the hash of the files that make the model"
        path = _checkpoint(folder, revision)
        if path is not None:
            return ["--model", _short(path), *code], meaning, []
        note = (
            f"put the folder in the place of path/to/{folder} whose files hash to {revision}, whatever its name is now"
        )
        return ["--model", f"path/to/{folder}", *code], meaning, [note]
    if revision == _NO_REVISION:
        return ["--model", name, *code], "a model of MTEB's that has no commit", []
    return ["--model", name, "--revision", revision, *code], _COMMIT, []


def _checkpoint(folder: str, revision: str) -> Path | None:
    """The folder here, or in a folder here, that is the very model; None if there is none."""
    for path in (Path(folder), *sorted(Path().glob(f"*/{glob.escape(folder)}"))):
        try:
            if path.is_dir() and Checkpoint.at(path).revision == revision:
                return path if path.is_absolute() or len(path.parts) > 1 else Path(f"./{path}")
        except HbtBenchError:  # no model
            continue
    return None


def _prompts(label: str, result: Result | None, notes: list[str]) -> tuple[str, list[str]]:
    """What the label of the prompts means, and the options that give them; `notes` are added to."""
    given = result.hand_prompts if result else None
    known = result.prompts if result else None
    if given:
        texts = [f"before {kind} {given[key]!r}" for key, kind in _ROLES.items() if key in given]
        options = [word for key in _ROLES if key in given for word in (f"--{key.replace('_', '-')}", given[key])]
        return f"{', '.join(texts)}, given by hand", options
    if label == "none":
        return "nothing is put before queries and documents", []
    if label == "model":
        return "the prompts that the named model comes with", []
    if known is None:
        notes.append(
            "a hash does not say the prompts: where they were not the model's own, add --query-prompt and "
            "--document-prompt, or show the result's file, which has them"
        )
        return "hash of the texts before queries and documents: the model's own, or given by hand", []
    return (
        f"before queries {known['query']!r}, before documents {known['document']!r}, from the model's configuration",
        [],
    )


#: The names of prompts given by hand, in MTEB's metadata of a model.
_ROLES = {"query_prompt": "queries", "document_prompt": "documents"}


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
