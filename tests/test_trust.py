"""What a model, a task or a result from elsewhere can make this program do: no code runs unless that was asked for."""

from __future__ import annotations

import ast
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

import hbt_bench
from hbt_bench.cli.main import run as command
from hbt_bench.errors import DataError, ModelError
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.yaml_file import YamlFile
from tests.factories import torch_random_model

PACKAGE = Path(hbt_bench.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
#: Modules that run what they read, or calls that do.
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "xml", "lxml"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load"}
UNSAFE_CALLS |= {"tempfile.mktemp", "pd.read_pickle", "pandas.read_pickle", "extractall", "os.exec", "os.spawn"}
#: Who may start other programs, and download.
DOWNLOADS = {"data/data_files.py"}


def name_of(node):
    """``a.b.c`` of a call's function."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([*([node.id] if isinstance(node, ast.Name) else []), *reversed(parts)])


def keyword(call, name):
    return next((ast.unparse(one.value) for one in call.keywords if one.arg == name), None)


def problems(source):
    """What in a module could run or load something that is not to be trusted."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"imports {name}" for name in names if name.split(".")[0] in UNSAFE_MODULES]
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        if name in UNSAFE_CALLS or name.split(".")[-1] in ("extractall", "unsafe_load", "full_load"):
            found.append(f"calls {name}")
        if name == "torch.load" and keyword(node, "weights_only") != "True":
            found.append("torch.load without weights_only=True")
        if name in ("np.load", "numpy.load") and keyword(node, "allow_pickle") != "False":
            found.append("np.load without allow_pickle=False")
        if name == "yaml.load" and keyword(node, "Loader") not in ("_Loader", "_Base"):
            found.append("yaml.load with another loader than ours")
        if keyword(node, "shell") == "True":
            found.append(f"{name} with a shell")
        if keyword(node, "trust_remote_code") == "True" or keyword(node, "verify") == "False":
            found.append(f"{name} trusts what it was not told to")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_runs_what_it_reads(path):
    assert problems(path.read_text()) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_one_module_downloads(path):
    used = {
        alias.name.split(".")[0] if isinstance(node, ast.Import) else (node.module or "")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    network = {name for name in used if name.split(".")[0] in ("requests", "httpx", "urllib3", "aiohttp", "http")}
    network |= {name for name in used if name == "urllib.request"}
    assert not network or path.relative_to(PACKAGE).as_posix() in DOWNLOADS


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import pickle", "imports pickle"),
        ("from xml.etree import ElementTree", "imports xml.etree"),
        ("import torch\ntorch.load('x')", "torch.load without weights_only=True"),
        ("import torch\ntorch.load('x', weights_only=False)", "torch.load without weights_only=True"),
        ("np.load('x')", "np.load without allow_pickle=False"),
        ("yaml.load(x, Loader=yaml.Loader)", "yaml.load with another loader than ours"),
        ("yaml.unsafe_load(x)", "calls yaml.unsafe_load"),
        ("eval(x)", "calls eval"),
        ("subprocess.run(x, shell=True)", "subprocess.run with a shell"),
        ("load(x, trust_remote_code=True)", "load trusts what it was not told to"),
        ("requests.get(x, verify=False)", "requests.get trusts what it was not told to"),
        ("tarfile.open(x).extractall()", "calls extractall"),
    ],
)
def test_the_search_finds_each(source, said):
    assert problems(source) == [said]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return torch_random_model(tmp_path_factory.mktemp("model") / "m", 0)


@pytest.fixture
def with_code(model, tmp_path):
    """A local model whose configuration names a class in a Python file of its own, which leaves a mark when it runs."""
    folder, mark = tmp_path / "m", tmp_path / "ran"
    shutil.copytree(model, folder)
    (folder / "own.py").write_text(
        f"open({str(mark)!r}, 'w').close()\n"
        "from sentence_transformers.sentence_transformer.modules import StaticEmbedding\n"
        "class Own(StaticEmbedding):\n    pass\n"
    )
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "own.Own"
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder, mark


def test_code_of_a_model_is_not_run(with_code):
    folder, mark = with_code
    with pytest.raises(ModelError, match="executes third-party code"):
        ModelRequest(str(folder), device="cpu").load()
    assert not mark.exists()


def test_code_of_a_model_is_run_when_asked_and_said(with_code, tmp_path, capsys):
    folder, mark = with_code
    arguments = ["run", "--model", str(folder), "--tasks", "cldr-facts-mono", "--languages", "de,en"]
    code = command([*arguments, "--output", str(tmp_path / "out"), "--device", "cpu", "--trust-remote-code"])
    err = capsys.readouterr().err
    assert code == 0, err
    assert mark.exists()
    assert f"running the code that comes with {folder}; its results are marked -remote-code" in err
    [path] = (tmp_path / "out").rglob("Cldr*.json")
    assert path.parent.name.endswith("-remote-code")


def test_pickled_weights_are_not_run(model, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    folder = tmp_path / "m"
    shutil.copytree(model, folder)
    for path in folder.rglob("model.safetensors"):
        path.unlink()
        torch.save({"embedding.weight": Trap()}, path.with_name("pytorch_model.bin"))
        path.with_name("pytorch_model.pkl").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "ran").unlink(missing_ok=True)
    with pytest.raises(ModelError, match="Weights only load failed"):
        ModelRequest(str(folder), device="cpu").load()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir [{path}]", "!!python/name:os.system", "!x y"])
def test_yaml_makes_texts_and_numbers_only(tmp_path, tag):
    (tmp_path / "t.yaml").write_text("a: " + tag.format(path=tmp_path / "ran"))
    with pytest.raises(DataError, match="is not allowed"):
        YamlFile.read(tmp_path / "t.yaml")
    assert not (tmp_path / "ran").exists()


def test_the_yaml_of_a_flag_makes_texts_and_numbers_only(tmp_path, capsys):
    data = f"{{path: !!python/object/apply:os.mkdir [{tmp_path / 'ran'}]}}"
    assert command(["train", "--data", data, "--output", str(tmp_path / "m")]) == 2
    assert "is not valid YAML" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
