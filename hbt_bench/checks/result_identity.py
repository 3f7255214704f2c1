"""Whether the parts of a result fit each other: file and folder, signature, model, task and counts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields as dataclass_fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.identity.signature import TIE_RULE, Prompts, Signature, parse_fields
from hbt_bench.ranking.subsets import subsets
from hbt_bench.results.result import Result
from hbt_bench.results.schema import MAX_BYTES, MODEL_META, ResultFile, Summary
from hbt_bench.results.store import model_folder
from hbt_bench.tasks.task import TaskSpec

#: Keys that the schema does not describe: MTEB's, and facts that no table reads.
_FILE_KEYS = {"dataset_revision", "mteb_version", "evaluation_time", "kg_co2_emissions", "date", "evaluation_phases"}
_SUMMARY_KEYS = {"check", "device"}
#: Fields of a signature that name programs.
_PROGRAMS = ("hbt", "mteb")
_VERSION = re.compile(r"\d+(\.\d+)*(\.?(a|b|rc|post|dev)\d+)*(\+[\w.]+)?")


def strict_json(path: Path, infinity: bool = False) -> Any:
    """Return the content of a JSON file. Raises `ValueError` for a repeated key and for large files.

    `infinity` is whether a number may be infinite, as the token limit of a static model in MTEB's metadata.
    """
    with path.open("rb") as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES >> 20} MiB")
    try:
        return json.loads(text, object_pairs_hook=_without_repeats, parse_constant=float if infinity else _constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:40]!r} is there twice")
    return content


def _constant(name: str) -> float:
    if name != "NaN":  # MTEB's word for a score without a value
        raise ValueError(f"{name} is not a score")
    return float("nan")


def own_problems(result: Result, content: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each part of a result that contradicts its other parts, whatever the task is.

    `content` is the JSON of the file.
    """
    fields = result.fields
    yield from _unknown_keys(content)
    yield from _places(result, content)
    yield from _model_meta(result)
    yield from _signature(result, content)
    yield from _versions(fields, content)
    for split, entries in content["scores"].items():
        if split != "test" or not entries:
            yield f"there is a split {split[:40]!r}, but tasks of hbt-bench have the split 'test'"
        for entry in entries:
            yield from _entry(entry, fields, result)


def _places(result: Result, content: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence if a file or a folder has a name of another result."""
    if result.path.name != f"{result.mteb_name}.json" or content["hbt_bench"].get("mteb_name") != result.mteb_name:
        yield f"the file has the scores of {result.mteb_name}"
    folder = result.path.resolve().parent
    folder = folder.parent.parent if folder.parent.name == "experiments" else folder
    expected = model_folder(Path(), result.model, result.revision).parts
    if folder.parts[-2:] != expected:
        yield f"the model {result.label} belongs in the folder {'/'.join(expected)}"


def _signature(result: Result, content: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each field of the signature that the rest of the file contradicts."""
    fields = result.fields
    named = {field.name for field in dataclass_fields(Signature)} - {"versions"} | set(_PROGRAMS)
    if unknown := sorted(fields.keys() - named):
        yield f"the signature has unknown fields: {', '.join(unknown)[:100]}"
    expected_fields = {"task": result.task, "model": f"{result.model}@{result.revision}", "ties": TIE_RULE}
    if result.prompts is not None and set(result.prompts) == {"query", "document"}:
        expected_fields["prompt"] = Prompts(**result.prompts).label
    for name, value in expected_fields.items():
        if fields.get(name) != value.replace("|", "/"):
            yield f"the signature has the {name} {fields.get(name)}, but the result is of {value}"
    revision = content.get("dataset_revision")
    if revision != fields.get("data"):
        yield f"dataset_revision is {revision}, but the signature is of data {fields.get('data')}"


def _unknown_keys(content: Mapping[str, Any]) -> Iterator[str]:
    keys = _FILE_KEYS | {field.alias or name for name, field in ResultFile.model_fields.items()}
    known_summary = _SUMMARY_KEYS | {field.alias or name for name, field in Summary.model_fields.items()}
    unknown = sorted((content.keys() - keys) | (content["hbt_bench"].keys() - known_summary))
    if unknown:
        yield f"there are unknown keys: {', '.join(map(repr, unknown))[:100]}"
    if missing := sorted({"check", "values", "signature"} - content["hbt_bench"].keys()):
        yield f"the summary lacks {', '.join(missing)}"


def _model_meta(result: Result) -> Iterator[str]:
    path = result.path.with_name(MODEL_META)
    try:
        meta = strict_json(path, infinity=True)
        name, revision, parameters = meta["name"], meta["revision"], meta.get("n_parameters")
    except FileNotFoundError:
        yield "model_meta.json is missing from its folder"
        return
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        yield f"model_meta.json is damaged ({' '.join(str(error).split())[:100]})"
        return
    if (name, revision) != (result.model, result.revision):
        yield f"model_meta.json is of {name}@{revision}, but the result is of {result.model}@{result.revision}"
    if parameters is not None and parameters != result.parameters:
        yield f"model_meta.json has {parameters} parameters, but the result {result.parameters}"


def _versions(fields: Mapping[str, str], content: Mapping[str, Any]) -> Iterator[str]:
    for name in _PROGRAMS:
        if not _VERSION.fullmatch(fields.get(name, "")):
            yield f"the signature has no version of {name}"
            return
    if fields["mteb"] != content.get("mteb_version"):
        yield f"mteb_version is {content.get('mteb_version')}, but the signature is of mteb {fields['mteb']}"
    if _numbers(fields["hbt"]) > _numbers(version("hbt-bench")):
        yield f"the signature is of hbt-bench {fields['hbt']}, which is newer than this version"


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.match(r"[\d.]*", text)[0].split(".") if number]  # type: ignore[index]


def _entry(entry: Mapping[str, Any], fields: Mapping[str, str], result: Result) -> Iterator[str]:
    """Yield the contradictions of a subset's own identity, which results have in every subset since version 0.1."""
    subset = str(entry.get("hf_subset"))[:40]
    if "signature" in entry:
        stated = parse_fields(str(entry["signature"]))
        if any(stated.get(name) != value for name, value in fields.items() if name not in _PROGRAMS):
            yield f"the subset {subset} has another signature"
    if entry.get("subsets", result.expected_subsets) != result.expected_subsets:
        yield f"the subset {subset} is of a task with {entry['subsets']} subsets, not {result.expected_subsets}"


def task_problems(result: Result, spec: TaskSpec) -> Iterator[str]:
    """Yield a sentence for each part of a result that contradicts the definition of its task."""
    mode = result.mode
    if mode is None or mode not in spec.modes or spec.task_name(mode) != result.task:
        yield f"there is no task {result.task} of {spec.base}"
        return
    if result.mteb_name != spec.mteb_task_name(mode):
        yield f"{result.task} has the MTEB name {spec.mteb_task_name(mode)}"
    if result.fields.get("text") != spec.source.text:
        yield f"the candidates of {spec.base} are of the kind {spec.source.text}, not {result.fields.get('text')}"
    if result.ranks and result.ranks.name not in (spec.ranks_name(), f"{result.mteb_name}.ranks.npz"):
        yield f"the ranks of {result.task} are in {spec.ranks_name()}, not in {result.ranks.name}"
    languages = spec.languages
    if unknown := sorted(set(result.subsets.names) - {subset.name for subset in subsets(languages, mode)}):
        yield f"{result.task} has no subset {', '.join(unknown)[:100]}"
    if not result.complete:
        yield f"there are {len(result.subsets)} of {result.expected_subsets} subsets"
    is_unchanged = not result.task_name.languages and not result.task_name.shifts
    if is_unchanged and spec.pinned and spec.data not in (None, result.fields.get("data")):
        yield f"the signature is of data {result.fields.get('data')}, but the task is defined for data {spec.data}"
    elif is_unchanged and spec.pinned and spec.data is not None and result.unshifted is not None:
        yield "the result names unchanged queries, but has no query shift"


def count_problems(result: Result, judgements: TextlessCollection, spec: TaskSpec) -> Iterator[str]:
    """Yield the golden counts of a definition that the judgements in a file of ranks do not have."""
    if spec.expect is None or not spec.pinned or result.task_name.languages:
        return
    for kind, expected, blocks in (
        ("queries", spec.expect.queries, judgements.query_blocks),
        ("documents", spec.expect.documents, judgements.document_blocks),
    ):
        counts = {code: block.stop - block.start for code, block in blocks.items() if block.stop > block.start}
        if expected and counts != {code: count for code, count in expected.items() if count}:
            yield f"the ranks have other numbers of {kind} than the definition of {spec.base} expects"
