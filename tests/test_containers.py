"""The recipes of images agree with each other, and send no more than they need.

They are compared as text; docs/clusters.md tells which of them were built, and how.
"""

import re
import shlex
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "containers/Dockerfile").read_text()
APPTAINER = (ROOT / "containers/apptainer.def").read_text()
WHEEL = "softlabel-0.1.0-py3-none-any.whl"


def instructions(name):
    """What follows an instruction of the Dockerfile, its lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name}\s+(.*)$", joined, re.MULTILINE)


def section(name):
    """Lines of a section of Apptainer's definition."""
    match = re.search(rf"^%{name}\n(.*?)(?=^%|\Z)", APPTAINER, re.MULTILINE | re.DOTALL)
    assert match, name
    return match[1]


def assignments(words):
    return dict(word.split("=", 1) for word in words if "=" in word)


def test_both_set_the_same_environment_but_for_what_belongs_to_a_user():
    docker = assignments(word for line in instructions("ENV") for word in shlex.split(line))
    exports = re.findall(r"^\s*export (.*)$", section("environment"), re.MULTILINE)
    apptainer = assignments(word for line in exports for word in shlex.split(line))
    users = {"HOME": "/tmp", "LOGNAME": "softlabel", "NUMBA_CACHE_DIR": "/tmp/numba"}
    assert docker == apptainer | users
    assert not apptainer.keys() & users.keys()


def test_both_begin_with_the_same_image_and_start_the_same_program():
    assert f"From: {instructions('FROM')[0]}" in APPTAINER
    assert instructions("ENTRYPOINT") == ['["softlabel"]']
    assert section("runscript").split() == ["exec", "softlabel", '"$@"']


def test_apptainer_copies_files_and_no_folder():
    """Into a folder that exists, a folder is copied as a folder of its own."""
    sources = [line.split()[0] for line in section("files").splitlines() if line.strip()]
    assert sources == ["dist/softlabel-*.whl", "constraints.txt"]
    assert instructions("COPY") == [f"{' '.join(sources)} /tmp/install/"]


def script_of(recipe, folder):
    """The installing script of a recipe with another folder, and ``echo`` in pip's place."""
    if recipe == "Dockerfile":
        script, theirs = instructions("RUN")[0], "/tmp/install"
    else:
        script, theirs = section("post"), "/opt/install"
    pip = "python -m pip install"
    assert pip in script
    return script.replace(theirs, str(folder)).replace(pip, "echo installs")


@pytest.mark.parametrize("recipe", ["Dockerfile", "apptainer.def"])
@pytest.mark.parametrize("wheels", [[], [WHEEL], [WHEEL, "softlabel-0.0.9-py3-none-any.whl"]])
def test_one_wheel_is_installed_and_none_or_two_end_with_a_sentence(recipe, wheels, tmp_path):
    folder = tmp_path / "install"
    folder.mkdir()
    for name in [*wheels, "constraints.txt"]:
        (folder / name).touch()
    command = ["sh", "-e", "-c", script_of(recipe, folder)]
    environment = {"PATH": "/usr/bin:/bin", "EXTRAS": "cluster"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if len(wheels) == 1:
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[-1] == f"{folder / WHEEL}[cluster]"
        assert not folder.exists()
    else:
        assert done.returncode == 1
        assert "no wheel of softlabel, or several; fix:" in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize(
    ("path", "is_sent"),
    [
        (f"dist/{WHEEL}", True),
        ("constraints.txt", True),
        ("dist/softlabel-0.1.0.tar.gz", False),
        (".venv/lib/python3.11/site-packages/torch/lib/libtorch.so", False),
        (".git/config", False),
        ("data/oct.h5", False),
    ],
)
def test_the_builder_is_sent_the_wheel_and_the_pins_alone(path, is_sent):
    """Of the patterns that match a path or a folder above it, the last one counts."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    names = [path, *map(str, Path(path).parents)]
    sent = True
    for pattern in patterns:
        kept = pattern.startswith("!")
        bare = pattern.removeprefix("!").rstrip("/")
        if any(fnmatch(name, bare) for name in names if name != "."):
            sent = kept
    assert sent is is_sent
