"""Explain the fields of a signature, and give the command that reproduces the score."""

from __future__ import annotations

import glob
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from hbt_bench.data.query_shift import Shift
from hbt_bench.errors import HbtBenchError, UsageError
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.identity.signature import Signature
from hbt_bench.identity.task_name import Mode, TaskName
from hbt_bench.identity.variant import Variant
from hbt_bench.mteb.run_model import RUN_REVISION
from hbt_bench.mteb.vectors import PREFIX, VECTORS_REVISION
from hbt_bench.ranking.tokens import VERSION
from hbt_bench.results.result import Result
from hbt_bench.tasks.registry import TaskLocation, TaskRegistry

_MODES: dict[Mode, str] = {
    "mono": "queries of each language search the documents of the same language",
    "cross": "queries of each language search the documents of another language, every ordered pair",
    "multi": "queries of each language search the documents of all languages in one pool",
}
_TEXTS = {
    "sentence": "a candidate is the sentence alone",
    "sentence+context": "a candidate is the sentence and its paragraph",
    "mteb": "a task of MTEB, with MTEB's texts",
}
_TIES = {
    "docid-desc": "equal float32 scores are ranked by document id, descending, as trec_eval does",
    "mteb": "equal scores are ranked as MTEB does",
}
#: The names of prompts given by hand, in MTEB's metadata of a model.
_ROLES = {"query_prompt": "queries", "document_prompt": "documents"}
_BM25 = "hbt-bench/bm25"
_OLDER_TOKENS = (
    f"this hbt-bench cuts words otherwise (t{VERSION}), so the scores may differ: rerun the models that you compare"
)
#: MTEB's revision of a model without a commit, its name of a model object without a name, and the mark of a run with
#: ``--trust-remote-code``.
_NO_REVISION, _NO_NAME, _CODE = "no_revision_available", "no_model_name/available", "-remote-code"
#: A revision of a model on a server.
_SERVED = re.compile(r"(?P<stated>.+)-endpoint\d+(?P<dot>-dot)?(?P<fields>-fields\w+)?")


@dataclass(frozen=True)
class Explanation:
    """The meaning of a signature.

    Attributes:
        parts: The name, value and meaning of each field.
        setup: The command that installs the versions.
        command: The command that reproduces the score.
        notes: Limits of the command, such as a folder to fill in.
    """

    parts: tuple[tuple[str, str, str], ...]
    setup: str
    command: str
    notes: tuple[str, ...]


def read_signature(source: str) -> tuple[Signature, Result | None]:
    """Return a signature, and the result that it comes from if `source` is the path of a result.

    Raises `UsageError` if `source` is neither a file nor a signature.
    """
    try:
        is_file = Path(source).is_file()
    except OSError:  # a signature may be too long for a file's name
        is_file = False
    if is_file:
        result = Result.read(Path(source))
        return Signature.parse(result.signature), result
    if source.endswith(".json"):
        raise UsageError(f"there is no file {source}: name a result, as in results/<model>/<revision>/<Task>.json")
    return Signature.parse(source), None


def explain(signature: Signature, result: Result | None = None, registry: TaskRegistry | None = None) -> Explanation:
    """Explain a signature. If its `result` is given, the explanation includes the prompts.

    `registry` finds the definition of the task. For example,
    ``explain(Signature.parse("task:xquad-r-multi|...")).command`` starts with ``hbt-bench run --model``.
    """
    task = TaskName.parse(signature.task)
    is_stock = signature.text == "mteb"
    location = None if is_stock else (registry or TaskRegistry()).locate(task.mode_name)
    name, _, revision = signature.model.rpartition("@")
    revision, variant = Variant.split(revision)
    model, revision_meaning, notes = _explain_model(name, revision)
    prompts, prompts_meaning = _explain_prompts(signature.prompt, result, notes)
    verb = ["score", "path/to/run"] if revision.startswith(RUN_REVISION) else ["run"]
    command = ["hbt-bench", *verb, *model, *variant.options, "--tasks", signature.task]
    if location and location.folder:
        command += ["--task-dir", _short_path(location.folder)]
    elif not location and not is_stock:
        command += ["--task-dir", "path/to/tasks"]
        notes.append(
            f"this installation has no task {task.mode_name}: replace path/to/tasks with the folder of its file "
            f"{task.base}.yaml (`hbt-bench show --task-dir FOLDER` does it for you), or install the version above"
        )
    is_shipped = location and not location.folder and str(task) == task.mode_name
    verify = f"; `hbt-bench data verify {task.base}` prints it" if is_shipped else ""
    meanings = {
        "task": _explain_task(task, location, is_stock),
        "text": _TEXTS.get(signature.text, "the kind of a candidate's text"),
        "data": "MTEB's revision of the data set" if is_stock else f"hash of texts and judgements{verify}",
        "model": revision_meaning,
        "prompt": prompts_meaning,
        "ties": _TIES.get(signature.ties, "the rule for equal scores"),
        "depth": "the rankings of the run are complete up to this rank, and ranks below it are unknown",
        "hbt": "version of hbt-bench",
        "mteb": "version of mteb",
    }
    parts = tuple((key, value, meanings.get(key, "unknown to this version")) for key, value in signature.fields.items())
    packages = {"hbt": "hbt-bench[bm25]" if name == _BM25 else "hbt-bench", "mteb": "mteb"}
    pins = [f"{packages[key]}=={version}" for key, version in signature.versions if key in packages]
    setup = f"pip install {shlex.join(pins)}" if pins else ""
    return Explanation(parts, setup, shlex.join([*command, *prompts]), tuple(notes))


def _explain_task(task: TaskName, location: TaskLocation | None, is_stock: bool) -> str:
    if location:
        meaning = f"{location.spec.title}: {_MODES[location.modes[0]]}"
    else:
        meaning = "see MTEB's documentation" if is_stock else "a task"
    if task.queries is not None:
        languages = task.languages.strip("[]").replace(",", " ").replace(">", " against ")
        meaning = f"the languages {languages} alone, so a smaller pool; {meaning}"
    if task.shifts:
        meaning += f"; queries changed by {' and '.join(_full_shift(shift) for shift in task.shifts)}"
    return meaning


def _full_shift(text: str) -> str:
    try:
        return str(Shift.parse(text))
    except UsageError:  # a query shift of another version
        return text


def _short_path(path: Path) -> str:
    """Return a path relative to the current folder if it lies in it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _explain_model(name: str, revision: str) -> tuple[list[str], str, list[str]]:
    """Return the options that name a model, the meaning of its revision, and notes."""
    if name == _BM25:
        older = [] if revision.endswith(f"-t{VERSION}") else [_OLDER_TOKENS]
        return ["--model", f"bm25@{revision}"], "the lexical baseline, its parameters k1 and b, and its tokens", older
    if served := _SERVED.fullmatch(revision):
        return _explain_served(name, served)
    if revision.startswith(RUN_REVISION):
        note = "replace path/to/run with the files of the run, whose rankings have this hash, and add its options"
        return ["--name", name], "the system that made a run, and the hash of its rankings", [note]
    if revision.startswith(VECTORS_REVISION):
        note = f"replace path/to/vectors with the folder whose files hash to {revision}"
        return ["--model", f"{PREFIX}path/to/vectors"], "vectors in a folder, and the hash of its files", [note]
    code = ["--trust-remote-code"] if revision.endswith(_CODE) else []
    revision = revision.removesuffix(_CODE)
    if name.startswith("local/"):
        folder = name.removeprefix("local/")
        meaning = "a local folder, and the hash of the model's files"
        path = _find_checkpoint(folder, revision)
        if path is not None:
            return ["--model", _short_path(path), *code], meaning, []
        note = f"replace path/to/{folder} with the folder, of any name, whose files hash to {revision}"
        return ["--model", f"path/to/{folder}", *code], meaning, [note]
    if name == _NO_NAME:
        note = "mteb.evaluate got a model object without a name: replace path/to/model with its folder or its name"
        return ["--model", "path/to/model"], "a model without a name", [note]
    if revision == _NO_REVISION:
        return ["--model", name, *code], "a model that MTEB registers without a commit", []
    return ["--model", name, "--revision", revision, *code], "name on the hub, and its commit", []


def _explain_served(name: str, revision: re.Match[str]) -> tuple[list[str], str, list[str]]:
    """Return the options of a model on a server, the meaning of its revision, and notes."""
    options = ["--model", "http://HOST:PORT", "--served-name", name.removeprefix("endpoint/")]
    options += ["--similarity", "dot"] if revision["dot"] else []
    notes = [
        f"replace http://HOST:PORT with the URL of the server; its hash is {revision['stated']}, unless this is the "
        "version that was stated with --revision"
    ]
    if revision["fields"]:
        notes.append("the requests had more fields: add --query-fields and --document-fields")
    return options, "a model on a server: hash of its URL or stated version, and the dimension of its vectors", notes


def _find_checkpoint(folder: str, revision: str) -> Path | None:
    """Return the folder of this name and revision, here or in a folder here."""
    for path in (Path(folder), *sorted(Path().glob(f"*/{glob.escape(folder)}"))):
        try:
            if path.is_dir() and Checkpoint.from_folder(path).revision == revision:
                return path if path.is_absolute() or len(path.parts) > 1 else Path(f"./{path}")
        except HbtBenchError:  # not a model
            continue
    return None


def _explain_prompts(label: str, result: Result | None, notes: list[str]) -> tuple[list[str], str]:
    """Return the options that set the prompts, and the meaning of their label. Adds to `notes`."""
    by_hand = result.prompts_by_hand if result else None
    prompts = result.prompts if result else None
    if by_hand:
        roles = {key: role for key, role in _ROLES.items() if key in by_hand}
        texts = [f"before {role} {by_hand[key]!r}" for key, role in roles.items()]
        options = []
        for key in roles:  # the command line reads a line end where \n is typed
            options += [f"--{key.replace('_', '-')}", by_hand[key].replace(r"\n", r"\\n")]
        return options, f"{', '.join(texts)}, given by hand"
    if label == "none":
        return [], "nothing is put before queries and documents"
    if label == "model":
        return [], "the prompts of the named model"
    if prompts is None:
        notes.append(
            "the hash does not reveal the prompts: if they are not the model's own, add --query-prompt and "
            "--document-prompt, or show the result's file, which has them"
        )
        return [], "hash of the texts before queries and documents: the model's own, or given by hand"
    texts = [f"before queries {prompts['query']!r}", f"before documents {prompts['document']!r}"]
    return [], f"{', '.join(texts)}, from the model's configuration"
