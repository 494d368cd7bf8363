"""The main job on a Dask cluster: the same bytes, and only what is deadly fails."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import replace

import factories
import pytest

from softlabel.cache import open_cache
from softlabel.cache.verify import verify
from softlabel.cluster import ClusterFailed, connected
from softlabel.errors import UsageError
from softlabel.files.atomic import TEMPORARY_PREFIX
from softlabel.files.owner import claimed
from softlabel.generation import on_cluster, run
from softlabel.generation.plan import plan
from softlabel.generation.run import carry_out, decide, generate, tasks_of
from softlabel.generation.settings import Settings
from softlabel.interrupt import no_safe_point
from softlabel.readers import list_dataset

pytest.importorskip("distributed")

QUICK = factories.QUICK
IDS = [f"s{i}" for i in range(8)]


@pytest.fixture(scope="module")
def cluster():
    with connected("local", 2) as made:
        yield made


@pytest.fixture
def decided(tmp_path):
    data = factories.write_scenes(tmp_path / "data", IDS)
    return decide(list_dataset(data), tmp_path / "c.h5", QUICK)


def test_a_run_on_a_cluster_writes_the_same_bytes(cluster, decided, tmp_path, monkeypatch):
    told, said = [], []
    monkeypatch.chdir(tmp_path)  # workers run in another folder
    dataset = replace(decided.dataset, root=decided.dataset.root.relative_to(tmp_path))
    relative = plan(dataset, QUICK, decided.out.relative_to(tmp_path))
    report = carry_out(
        relative, scheduler=cluster.scheduler, progress=lambda r: told.append(r.id), say=said.append
    )
    assert report.complete and sorted(told) == IDS
    assert said == [
        f"Dask scheduler {cluster.scheduler}, dashboard {cluster.dashboard}: 2 workers with "
        "2 threads."
    ]
    generate(tmp_path / "data", tmp_path / "calm" / "c.h5", QUICK)
    assert factories.files_of(decided.out) == factories.files_of(tmp_path / "calm/c.h5")
    assert decided.out.read_bytes() == (tmp_path / "calm/c.h5").read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"data", "calm", "c.h5", "c.parts"}


def test_a_case_that_cannot_be_read_is_told_by_its_worker(cluster, tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    (data / "images/b.png").write_bytes(b"no picture")
    report = generate(data, tmp_path / "c.h5", QUICK, scheduler=cluster.scheduler)
    assert list(report.failures) == ["b"] and "b.png" in report.failures["b"]
    assert list(open_cache(report.out)) == ["a", "c"]


class DeadlyFiles:
    """Stands where superpixel files stand, and ends the worker that asks it for some cases."""

    def __init__(self, path, deadly):
        self.path, self.deadly = path, deadly

    def file(self, case_id):
        return None

    def read(self, case_id):
        if case_id in self.deadly:
            with (self.path / case_id).open("a") as deaths:
                deaths.write(".")
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_deadly_case_is_set_aside_and_its_siblings_are_computed(
    cluster, decided, tmp_path, monkeypatch
):
    """Two tasks of four cases: in each of them one kills its worker, whenever it is tried."""
    (tmp_path / "deaths").mkdir()
    files = DeadlyFiles(tmp_path / "deaths", ("s1", "s6"))

    def bundles(*arguments, **options):
        first = tasks_of(*arguments, **options)[0]
        return [
            replace(first, dataset=decided.dataset, refs=refs, superpixel_files=files)
            for refs in (decided.dataset.refs[:4], decided.dataset.refs[4:])
        ]

    monkeypatch.setattr(run, "tasks_of", bundles)
    report = carry_out(decided, scheduler=cluster.scheduler)
    assert (set(report.failures), report.cases, report.stopped) == ({"s1", "s6"}, 6, "")
    assert "workers died while they computed it" in report.failures["s1"]
    assert [(p.name, p.stat().st_size) for p in sorted(files.path.iterdir())] == [
        ("s1", 2), ("s6", 2)
    ]  # fmt: skip
    assert list(open_cache(decided.out)) == [i for i in IDS if i not in ("s1", "s6")]
    assert not (tmp_path / "c.attempts").exists() and verify(decided.out) == []


# What is refused


def test_devices_are_those_of_this_machine(decided):
    with pytest.raises(UsageError, match="leave one of the two out"):
        carry_out(decided, scheduler="local", device="cuda")


def test_workers_of_another_version_are_refused(cluster, decided, monkeypatch):
    monkeypatch.setattr(on_cluster, "__version__", "0.0.0")
    report = carry_out(decided, scheduler=cluster.scheduler)
    assert "the run is of 0.0.0; install the same version" in report.stopped
    assert (report.cases, report.remaining, len(open_cache(decided.out))) == (0, 8, 0)
    assert not list(decided.parts.path.iterdir())


@pytest.mark.slow
def test_workers_that_do_not_see_the_output_are_refused(cluster, decided):
    with claimed(decided.out, "p") as claim:
        decided.parts.path.mkdir()
        (task, *_) = tasks_of(decided, decided.todo, 1, claim=claim)
        unseen = replace(task, claim=replace(claim, path=claim.path.with_name("elsewhere")))
        reports = on_cluster.reports_of_cluster(cluster, [unseen], claim, no_safe_point)
        with pytest.raises(ClusterFailed, match=r"does not see the folder of .* give an output on"):
            list(reports)
    assert not list(decided.parts.path.glob(f"{TEMPORARY_PREFIX}*"))


def test_what_workers_write_must_arrive_here(cluster, decided, monkeypatch):
    monkeypatch.setattr(on_cluster, "SHARED_SECONDS", 0.3)
    asked = type(cluster).ask_workers
    monkeypatch.setattr(
        type(cluster), "ask_workers",
        lambda self, *given: {w: f"{name}-lost" for w, name in asked(self, *given).items()},
    )  # fmt: skip
    report = carry_out(decided, scheduler=cluster.scheduler)
    assert "does not arrive here; give an output on a file system that all" in report.stopped


# Real processes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_stopped_run_is_gone_on_with(tmp_path, number, status):
    names = [f"s{i}" for i in range(40)]
    data = factories.write_scenes(tmp_path / "data", names, shape=(170, 180))
    out = tmp_path / "c.h5"
    options = ("--n-segments=400", "--compactness=0.03", "-j", "2")
    process = subprocess.Popen(
        [*factories.COMMAND, "generate", data, "-o", out, *options, "--scheduler", "local"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + factories.PATIENCE
    while len(list(out.with_suffix(".parts").glob("*.h5"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    os.killpg(process.pid, number)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == status, stderr
    assert "Traceback" not in stderr and "WARNING" not in stderr
    assert stderr.splitlines()[-2] == "Interrupted." and not (tmp_path / "c.attempts").exists()
    report = generate(data, out, Settings(n_segments=400, compactness=0.03))
    assert report.complete and 2 <= report.skipped < 40 and verify(out) == []
