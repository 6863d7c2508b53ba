"""The report in headless Chromium: what a parser of ours cannot see."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from job_folders import score, write_job

from analysis.report import report

pytestmark = pytest.mark.browser


@pytest.fixture
def chromium(tmp_path: Path):
    """Runs Chromium on a page with these flags; gives (stdout, stderr)."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        if os.environ.get("CI"):
            pytest.fail("no chromium on this machine")
        pytest.skip("no chromium on this machine")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"]
    # the table draws itself after the page is loaded: ten seconds of the page's clock, which stands while there is work
    flags += ["--virtual-time-budget=10000"]

    def run(page: Path, *more: str) -> tuple[str, str]:
        command = [found, *flags, f"--user-data-dir={tmp_path / 'profile'}", *more, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout, done.stderr

    return run


@pytest.mark.parametrize("size", ["1280,900", "400,900"])
def test_it_opens_without_a_console_error(pair: Path, chromium, size: str, tmp_path: Path):
    shot = tmp_path / "shot.png"
    _, told = chromium(report(pair), f"--window-size={size}", f"--screenshot={shot}")
    assert "CONSOLE" not in told
    assert shot.stat().st_size > 10_000


def test_a_script_in_the_data_does_not_run(pair: Path, chromium):
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    write_job(pair / "2", evil, {"m": [score("s1", 1, None, "m") | {"raw": evil}]}, status="failed", error=evil)
    dom, _ = chromium(report(pair), "--dump-dom")
    assert "<title>owned" not in dom
    assert 'src="x"' not in dom


def test_the_browser_of_records_holds_records_and_rejects_as_text(pair: Path, chromium):
    dom, told = chromium(report(pair), "--dump-dom")
    assert "CONSOLE" not in told
    table = dom.split('id="grid"')[1]
    assert table.count('class="gridjs-tr"') == 11  # a page of ten, and the head
    assert '<option value="=echo">echo</option>' in dom and '<option value="=">(none)</option>' in dom
    assert '<input type="search">' in dom
