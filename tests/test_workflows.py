"""The files of the code host are valid and safe, and name the versions that pyproject.toml does."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
HOST = ROOT / ".github"
WORKFLOW = HOST / "workflows" / "test.yml"
BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def said(program: str, *arguments: str | Path) -> tuple[int, str]:
    if not (BIN / program).exists():
        pytest.skip(f"needs {program} (make setup)")
    done = subprocess.run(
        [BIN / program, *arguments], capture_output=True, text=True, check=False
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ("github-workflows", "workflows/*.yml"),
        ("github-issue-forms", "ISSUE_TEMPLATE/[!c]*.yml"),
        ("github-issue-config", "ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_every_file_has_the_form_that_the_host_reads(schema, pattern, tmp_path):
    files = sorted(HOST.glob(pattern))
    assert files
    check = ("check-jsonschema", "--builtin-schema", f"vendor.{schema}")
    code, words = said(*check, *files)
    assert code == 0, words
    spoiled = tmp_path / files[0].name
    spoiled.write_text(files[0].read_text() + "\nunheard_of: 1\n")
    assert said(*check, spoiled)[0] == 1


def test_the_workflow_is_safe(tmp_path):
    """No finding of zizmor: rights, credentials, unpinned actions, text of others in scripts."""
    code, words = said("zizmor", "--offline", "--quiet", HOST)
    assert code == 0, words
    text = WORKFLOW.read_text().replace("contents: read", "contents: write")
    assert text != WORKFLOW.read_text()
    (tmp_path / "test.yml").write_text(text)
    assert said("zizmor", "--offline", "--quiet", tmp_path / "test.yml")[0] != 0


def test_the_workflow_has_the_versions_that_the_project_names():
    text = WORKFLOW.read_text()
    matrix = yaml.safe_load(text)["jobs"]["python"]["strategy"]["matrix"]
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert matrix["python"][0] == oldest
    listed = [re.search(r"3\.\d+$", line) for line in PROJECT.get("classifiers", [])]
    assert [found[0] for found in listed if found] == matrix["python"]
    for package in ("torch", "torchvision"):
        (bound,) = [one for one in PROJECT["dependencies"] if re.match(rf"{package}\W", one)]
        assert f"'{package}=={bound.partition('>=')[2]}.*'" in text
    assert text.startswith("# NOT RUN YET")
