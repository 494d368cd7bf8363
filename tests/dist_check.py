"""What users get works: the wheel and the sdist of a folder, tried in new environments (make dist).

The wheel is installed twice, with the newest libraries and with the oldest ones that are allowed,
and used far from the checkout: the README's Python, the help, a small data set to a checked cache.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path
from subprocess import PIPE

ROOT = Path(__file__).parents[1]
PACKAGES = {"softlabel", "softlabel_train"}
NOT_IN_THE_SDIST = (".ci/", ".gitignore")
NEWEST: tuple[str, ...] = ()
OLDEST = ("-c", str(ROOT / "constraints-oldest.txt"))


def check_wheel(wheel: Path) -> None:
    """It holds the two packages, their data, and nothing else."""
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert folders == PACKAGES, f"{wheel.name} holds {sorted(folders)}; expected {PACKAGES}"
    expected = set(tracked("softlabel")) | {
        name.removeprefix("train/") for name in tracked("train/softlabel_train")
    }
    found = {name for name in names if ".dist-info/" not in name}
    assert found == expected, f"{wheel.name} differs from the checkout in {found ^ expected}"


def check_sdist(sdist: Path) -> None:
    """It holds every file of the repository, so that its tests can run."""
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    expected = {name for name in tracked(".") if not name.startswith(NOT_IN_THE_SDIST)}
    missing = expected - names
    assert not missing, f"{sdist.name} lacks {sorted(missing)}; add them to MANIFEST.in"


def tracked(folder: str) -> list[str]:
    """Files under version control, relative to the checkout."""
    command = ["git", "ls-files", "-z", folder]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def check_use(wheel: Path, pip_options: tuple[str, ...], folder: Path) -> None:
    """Install the wheel into a new environment in the folder, and use it there."""
    venv.create(folder / "venv", with_pip=True)
    python, softlabel = folder / "venv/bin/python", folder / "venv/bin/softlabel"

    def run(*command: str | Path) -> str:
        words = [str(word) for word in command]
        return subprocess.run(words, cwd=folder, stdout=PIPE, text=True, check=True).stdout

    pip = (python, "-m", "pip", "--disable-pip-version-check", "-q")
    run(*pip, "install", *pip_options, wheel)
    run(*pip, "check")
    lines = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert lines
    assert "of the pixels are soft" in run(python, "-c", lines[1])
    assert "generate" in run(softlabel, "--help")
    small = ("--subjects", "1", "--bscans", "2", "--annotated", "2", "--size", "224x128", "-q")
    run(softlabel, "phantom", "oct", "oct", *small)
    run(softlabel, "generate", "oct", "-o", "oct.h5", "--superpixel-size", "190", "-q")
    run(softlabel, "verify", "oct.h5")
    print(f"{wheel.name} works with", *used(run(*pip, "freeze")))


def used(frozen: str) -> list[str]:
    """The libraries that decide most, with their versions."""
    return re.findall(r"^(?:numpy|scipy|scikit-image|numba|h5py)==.*$", frozen, re.MULTILINE)


def main(folder: Path) -> None:
    """Check the only wheel and the only sdist in a folder."""
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    check_wheel(wheel)
    check_sdist(sdist)
    for pip_options in (NEWEST, OLDEST):
        with tempfile.TemporaryDirectory() as elsewhere:
            check_use(wheel.resolve(), pip_options, Path(elsewhere))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
