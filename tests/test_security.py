"""What a stranger's config, data, model or wheel must not get, and what must not be written down."""

import ast
import base64
import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf, open_dict
from repository import FAKES, ROOT

from evodistill import RunError, config, credentials, prompt
from evodistill.weights import content_hash

sys.path.insert(0, str(Path(__file__).parent / "backend"))
from stub_server import Fault, StubServer

CODE = [path for folder in ("src", "analysis", "plots") for path in sorted((ROOT / folder).rglob("*.py"))]
INSIDE = ROOT / "src/evodistill/sandbox/inside"  # runs generated code, and nothing else does
SAMPLING = {"_target_": "evodistill.backend.Sampling"}


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


# --- code in data


@pytest.mark.parametrize("path", [*CODE, ROOT / "run.py"], ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_or_evaluated(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {(node.module or "").partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    called = {ast.unparse(call.func) for call in calls(tree)}
    if path.parent != INSIDE:
        assert not called & {"eval", "exec", "__import__"}
    assert not called & {"torch.load", "pd.read_pickle", "pandas.read_pickle", "yaml.load", "yaml.unsafe_load"}
    assert not any(name.endswith((".read_pickle", ".unsafe_load")) for name in called)
    assert "allow_pickle" not in {word.arg for call in calls(tree) for word in call.keywords}
    # a shell would read data as commands
    assert not any(word.arg == "shell" for call in calls(tree) for word in call.keywords)
    assert not called & {"os.system", "os.popen"}


def test_code_of_a_model_runs_only_where_a_person_has_said_so():
    """a switch of backends for models that are nothing but code; it is off in every shipped config"""
    for path in (ROOT / "conf").rglob("*.yaml"):
        for node in nodes(yaml.safe_load(path.read_text(encoding="utf-8"))):
            assert not node.get("trust_remote_code"), path
    for path in CODE:
        for call in calls(ast.parse(path.read_text(encoding="utf-8"))):
            given = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert given.get("trust_remote_code", "False") in ("False", "trusted", "self.trust_remote_code"), path


def nodes(value):
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(item)


def model(folder: Path, **files: bytes) -> Path:
    for name, data in {"config.json": b"{}", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EVODISTILL_HOME", str(tmp_path / "home"))


def test_pickled_weights_are_refused(home, tmp_path):
    with pytest.raises(RunError, match=r"pytorch_model\.bin is a pickle, which is never loaded"):
        content_hash(model(tmp_path / "a", **{"pytorch_model.bin": b"\x80\x04."}), "a")
    modules = json.dumps([{"path": "1_Dense"}]).encode()
    files = {"model.safetensors": b"", "modules.json": modules, "1_Dense/pytorch_model.bin": b"\x80\x04."}
    with pytest.raises(RunError, match=r"1_Dense/pytorch_model\.bin is a pickle"):
        content_hash(model(tmp_path / "b", **files), "b")


def test_where_there_are_safetensors_a_pickle_beside_them_is_not_read(home, tmp_path):
    both = {"model.safetensors": b"", "pytorch_model.bin": b"\x80\x04."}
    assert content_hash(model(tmp_path / "a", **both), "a").startswith("sha256:")


HOSTILE = {"_target_": "os.system", "command": "touch {0}"}
PATH = {"_target_": "evodistill.weights.Path", "_args_": ["{0}"]}


@pytest.mark.parametrize(
    "node",
    [
        HOSTILE,
        {**SAMPLING, "stop": HOSTILE},
        {**SAMPLING, "stop": [["a", {"deep": HOSTILE}]]},
        {**SAMPLING, "stop": {"_partial_": True, **HOSTILE}},
        {**SAMPLING, "_args_": [HOSTILE]},
        {**SAMPLING, "_args_": [{"_target_": "builtins.exec", "_args_": ["open('{0}', 'w')"]}]},
        {**SAMPLING, "stop": "${oc.create:{_target_:os.system,command:'touch {0}'}}"},
        {"name": "os.system", "_target_": "${.name}", "command": "touch {0}"},
        {"_target_": "evodistill.weights.os.system", "command": "touch {0}"},
        {"_target_": "evodistill.weights.shutil.copy", "src": "/etc/hostname", "dst": "{0}"},
        {"_target_": "evodistill.weights.Path.touch", "_args_": [PATH]},
        {"_target_": "evodistill.package.subprocess.run", "args": ["touch", "{0}"]},
        {"_target_": "evodistill.package.subprocess.Popen", "args": ["touch", "{0}"]},
        {"_target_": "evodistill.weights.write", "note": PATH, "text": ""},
        {"_target_": "evodistillx.backend.Sampling"},
        {"_target_": "evodistill"},
        {"_target_": "evodistill..backend.Sampling"},
    ],
)  # fmt: skip
def test_a_config_builds_our_own_classes_only(tmp_path, node):
    trap = tmp_path / "trap"
    given = json.loads(json.dumps(node).replace("{0}", str(trap)))
    for look in (config.build, lambda node: config.bind("node", node)):
        with pytest.raises(
            RunError, match=r"is refused: a config may build|cannot be imported|has no such key|wrong type"
        ):
            look(OmegaConf.create(given))
            if "_args_" in str(given) or "stop" in given:  # bind sees one node; check goes through all of them
                config.build(OmegaConf.create(given))
    assert not trap.exists()


@pytest.mark.parametrize(
    "text", ["{{ 7 * 7 }}", "{% for x in range(10**9) %}{% endfor %}", "{{ ''.__class__.__mro__ }}", "{0.__class__}"]
)
def test_data_is_never_a_template(text):
    assert text in prompt.render("respond/plain", instruction=text, input="")


# --- names that lead elsewhere


def test_a_step_or_metric_has_a_name_that_is_no_path(cfg):
    whole = cfg("+experiment=smoke")
    for key in ("../../evil", "a/b", "/tmp/evil", "..", ".hidden", "a\nb", ""):
        for group in (None, "metric", "benchmark"):
            given = copy.deepcopy(whole)
            with open_dict(given):
                if group is None:
                    given[key] = given.respond
                    given.steps = ["dataset", "evolution", key]
                else:
                    given[group] = {key: whole.metric.complexity_rate}
            with pytest.raises(RunError, match="is no name"):
                config.check(given)


@pytest.mark.parametrize("key", ["name", "study"])
def test_a_run_is_called_by_a_name_that_is_no_path(cfg, key):
    given = cfg("+experiment=smoke")
    given[key] = "../../elsewhere"
    with pytest.raises(RunError, match=f"{key}='../../elsewhere' is no name"):
        config.check(given)


@pytest.mark.parametrize("name", ["../../etc/passwd", "respond/../../../record", "/etc/passwd", "respond/plain\x00"])
def test_a_packaged_prompt_is_one_of_ours(name):
    with pytest.raises(RunError, match="no such file"):
        prompt.template(name)


# --- secrets

CANARY = "sk-canary-2f9c71d04be85a63"
PASSWORD = "canary-password-93bd21"


@pytest.mark.parametrize(
    "text",
    [
        CANARY,
        f"please use {CANARY}",
        f"http://me:{PASSWORD}@127.0.0.1:8000/v1",
        "hf_" + "aB3" * 10,
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1B2" * 9,
    ],
)
def test_what_looks_like_a_key_is_refused_and_not_repeated(text):
    with pytest.raises(RunError, match=r"teacher\.name\[1\] holds a key or a password") as refused:
        credentials.check({"teacher": {"name": ["fine", text]}})
    assert text not in str(refused.value)


def test_the_value_of_a_secret_variable_is_refused_wherever_it_stands(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123")
    with pytest.raises(RunError, match="a holds"):
        credentials.check({"a": "x0123456789abcdef0123x"})
    with pytest.raises(RunError, match="a key of the config holds"):
        credentials.check({"0123456789abcdef0123": 1})
    monkeypatch.setenv("SOME_TOKEN", "EMPTY")  # as local servers are given one
    credentials.check({"a": "EMPTY"})


@pytest.mark.parametrize(
    "text",
    [
        "task-oriented",
        "mistral-7b",
        "hf_hub",
        "http://127.0.0.1:8000/v1",
        "me@example.com",
        "a: b@c",
        "sk-learn",
        "OPENAI_API_KEY",
    ],
)
def test_ordinary_words_are_no_keys(text):
    credentials.check({"a": text})


def call(folder: Path, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "run.py", *overrides, f"artifacts={folder}/artifacts"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment})


def found(folder: Path, *secrets: str) -> list[Path]:
    """Files that hold a secret, plain, in base64 or in hex."""
    forms = [
        form
        for secret in secrets
        for form in (secret.encode(), base64.b64encode(secret.encode())[:-4], secret.encode().hex().encode())
    ]
    return [path for path in folder.rglob("*") if path.is_file() and any(form in path.read_bytes() for form in forms)]


@pytest.mark.parametrize(
    "override",
    [
        f"teacher.name={CANARY}",
        f"+teacher.api_key={CANARY}",
        f"teacher.base_url=http://me:{PASSWORD}@127.0.0.1:1/v1",
        "name=${oc.env:STUB_KEY}",
    ],
)
def test_a_secret_on_the_command_line_stops_the_run_before_anything_is_written(tmp_path, override):
    where = [f"hydra.run.dir={tmp_path}/run", "+experiment=smoke"]
    done = call(
        tmp_path, *where, "backend@teacher=api", "teacher.base_url=http://127.0.0.1:1/v1", override, STUB_KEY=CANARY
    )
    assert done.returncode and "holds a key or a password" in done.stderr
    assert CANARY not in done.stdout + done.stderr and PASSWORD not in done.stdout + done.stderr
    assert not found(tmp_path, CANARY, PASSWORD)


def test_no_secret_is_in_any_file_of_a_run_and_hostile_text_is_text_in_its_report(tmp_path):
    """Keys in the environment, a server that echoes its key, W&B offline; seeds, names and replies in HTML."""
    hostile = "<script>alert('canary')</script><img src=x onerror=alert(1)>"
    rows = [json.dumps({"instruction": f"Name {n} teas and their taste. {hostile}", "output": ""}) for n in range(6)]
    (tmp_path / "seeds.jsonl").write_text("\n".join(rows))

    def fault(number: int, body: dict) -> object:
        return Fault("400", message=f"your key {CANARY} is odd") if number % 3 == 0 else None

    environment = {"STUB_KEY": CANARY, "WANDB_API_KEY": PASSWORD, "HF_TOKEN": f"hf_{PASSWORD}", "WANDB_MODE": "offline"}
    with StubServer(key=CANARY, faults=fault) as server:
        settings = ["+experiment=smoke", *FAKES, "backend@teacher=api", f"teacher.base_url={server.url}"]
        settings += [
            "teacher.served_name=stub",
            "teacher.key_env=STUB_KEY",
            "teacher.engine.retries=0",
            "tracker=wandb",
        ]
        settings += [
            f"'evolver.name=\"{hostile[:29]}\"'".strip("'"),
            "dataset=jsonl",
            f"dataset.path={tmp_path}/seeds.jsonl",
        ]
        settings += ["dataset.columns.input=null", f"hydra.run.dir={tmp_path}/run"]
        done = call(tmp_path, *settings, **environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert any(asked.key == CANARY for asked in server.asked)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files) and (tmp_path / "run" / "report.html").is_file()
    assert not found(tmp_path, CANARY, PASSWORD)
    assert CANARY not in done.stdout + done.stderr
    rejects = "".join(path.read_text() for path in tmp_path.glob("artifacts/respond-*/rejects.jsonl"))
    assert "[key]" in rejects, "the server did quote it"
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert hostile not in page and "<img src=x" not in page and "&lt;script&gt;alert(" in page
