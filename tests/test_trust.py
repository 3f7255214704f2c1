"""Models, tasks and results from others cannot run code, unless the user allows it."""

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
#: Modules and calls that run code from their input.
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "xml", "lxml"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load"}
UNSAFE_CALLS |= {"tempfile.mktemp", "pd.read_pickle", "pandas.read_pickle", "extractall", "os.exec", "os.spawn"}
#: The modules that may use the network.
DOWNLOADS = {"data/data_files.py", "mteb/embeddings_client.py"}


def name_of(node):
    """Return the dotted name of a call's function, for example "os.system"."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([*([node.id] if isinstance(node, ast.Name) else []), *reversed(names)])


def keyword(call, name):
    return next((ast.unparse(argument.value) for argument in call.keywords if argument.arg == name), None)


def problems(source):
    """Return the statements in a module that could run untrusted input."""
    findings = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            findings += [f"imports {name}" for name in names if name.split(".")[0] in UNSAFE_MODULES]
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        if name in UNSAFE_CALLS or name.split(".")[-1] in ("extractall", "unsafe_load", "full_load"):
            findings.append(f"calls {name}")
        if name == "torch.load" and keyword(node, "weights_only") != "True":
            findings.append("torch.load without weights_only=True")
        if name in ("np.load", "numpy.load") and keyword(node, "allow_pickle") != "False":
            findings.append("np.load without allow_pickle=False")
        if name == "yaml.load" and keyword(node, "Loader") not in ("_Loader", "_Base"):
            findings.append("yaml.load with a foreign loader")
        if keyword(node, "shell") == "True":
            findings.append(f"{name} with a shell")
        if keyword(node, "trust_remote_code") == "True" or keyword(node, "verify") == "False":
            findings.append(f"{name} disables a check")
    return findings


def network_libraries(source):
    """Return the libraries of the network that a module imports."""
    used = {
        alias.name.split(".")[0] if isinstance(node, ast.Import) else (node.module or "")
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    network = {name for name in used if name.split(".")[0] in ("requests", "httpx", "urllib3", "aiohttp", "http")}
    return sorted(network | {name for name in used if name == "urllib.request"})


def found_in_modules(search):
    """Return the findings of a search, by module."""
    found = {path.relative_to(PACKAGE).as_posix(): search(path.read_text()) for path in MODULES}
    return {module: findings for module, findings in found.items() if findings}


def test_no_module_runs_its_input():
    assert found_in_modules(problems) == {}


def test_only_known_modules_download():
    assert set(found_in_modules(network_libraries)) == DOWNLOADS


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import pickle", "imports pickle"),
        ("from xml.etree import ElementTree", "imports xml.etree"),
        ("import torch\ntorch.load('x')", "torch.load without weights_only=True"),
        ("import torch\ntorch.load('x', weights_only=False)", "torch.load without weights_only=True"),
        ("np.load('x')", "np.load without allow_pickle=False"),
        ("yaml.load(x, Loader=yaml.Loader)", "yaml.load with a foreign loader"),
        ("yaml.unsafe_load(x)", "calls yaml.unsafe_load"),
        ("eval(x)", "calls eval"),
        ("subprocess.run(x, shell=True)", "subprocess.run with a shell"),
        ("load(x, trust_remote_code=True)", "load disables a check"),
        ("requests.get(x, verify=False)", "requests.get disables a check"),
        ("tarfile.open(x).extractall()", "calls extractall"),
    ],
)
def test_search_finds_each_problem(source, problem):
    assert problems(source) == [problem]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return torch_random_model(tmp_path_factory.mktemp("model") / "m", 0)


@pytest.fixture
def with_code(model, tmp_path):
    """Return a local model with a class in its own Python file, and the file that this class writes when it runs."""
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


def test_model_code_is_not_run(with_code):
    folder, mark = with_code
    with pytest.raises(ModelError, match="executes third-party code"):
        ModelRequest(str(folder), device="cpu").load()
    assert not mark.exists()


def test_model_code_runs_with_the_flag(with_code, tmp_path, capsys):
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
def test_yaml_tag_is_refused(tmp_path, tag):
    (tmp_path / "t.yaml").write_text("a: " + tag.format(path=tmp_path / "ran"))
    with pytest.raises(DataError, match="is not allowed"):
        YamlFile.read(tmp_path / "t.yaml")
    assert not (tmp_path / "ran").exists()


def test_yaml_tag_in_flag_is_refused(tmp_path, capsys):
    data = f"{{path: !!python/object/apply:os.mkdir [{tmp_path / 'ran'}]}}"
    assert command(["train", "--data", data, "--output", str(tmp_path / "m")]) == 2
    assert "is not valid YAML" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
