"""What jobs are given, and reading what they left."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace

import pytest
import torch

from pyvae.data.images import ImageData, load_toy
from pyvae.engines.engine import DivergedError
from pyvae.errors import UserError
from pyvae.parallel import jobs
from pyvae.parallel.jobs import Job, do, read_back, share, versions


@pytest.fixture(autouse=True)
def _threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def see(word, images, on_step):
    on_step()
    return word, torch.get_num_threads(), images


def job(*keys):
    return Job("key", "a job", see, ("hello",), keys)


def test_a_job_is_given_its_images_and_threads(digits, tmp_path):
    labelled, points = digits, load_toy(30)
    plain = ImageData("plain", torch.rand(4, 784), None, "here")
    asked = []
    with share({"a": labelled, "b": points, "c": plain}, 3, tmp_path) as shared:
        assert shared.wanted
        word, threads, images = do(job("c", "a", "b"), shared, lambda: asked.append(1))
    assert (word, threads, asked) == ("hello", 3, [1])
    for found, given in zip(images, (plain, labelled, points), strict=True):
        assert (found.name, found.source) == (given.name, given.source)
        assert torch.equal(found.pixels, given.pixels)
        assert found.pixels.dtype == given.pixels.dtype
        assert (found.labels is None) == (given.labels is None)
        assert found.labels is None or torch.equal(found.labels, given.labels)
    assert not shared.wanted
    assert list(tmp_path.iterdir()) == []


def test_images_are_read_once_and_those_of_an_earlier_command_are_let_go(tmp_path):
    for number in (1, 2):
        with share({"a": load_toy(30), "b": load_toy(60)}, 1, tmp_path) as shared:
            first = do(job("a", "b"), shared)[2]
            again = do(job("a", "b"), shared)[2]
        assert all(one is two for one, two in zip(first, again, strict=True))
        assert len(jobs._loaded) == 2, number


def test_a_folder_that_is_not_shared_is_one_line(tmp_path):
    with share({"a": load_toy(30)}, 1, tmp_path) as shared:
        pass
    with pytest.raises(UserError, match=r"^.* cannot see '.*'\. Choose an --out folder") as error:
        do(job("a"), shared)
    assert str(tmp_path) in str(error.value)


def test_other_images_are_one_line(tmp_path):
    with share({"a": load_toy(30)}, 1, tmp_path) as shared:
        other = {"a": shared.images["a"]._replace(sha256="0" * 64)}
        with pytest.raises(UserError, match=r"have changed since they were written\. Run the same"):
            do(job("a"), replace(shared, images=other))


def test_versions_are_those_that_the_numbers_depend_on():
    assert list(versions()) == ["python", "pyvae", "torch"]
    assert versions()["torch"] == torch.__version__


def test_what_a_worker_has_written_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: None)
    answers = [None, None, "it"]
    assert read_back(lambda: answers.pop(0), tmp_path, "a worker") == "it"
    assert answers == []


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("", "'{}' was written but cannot be read. Run the same command again."),
        ("w1", "worker w1 has written '{}', which cannot be seen here. Choose an --out folder on"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, monkeypatch, where, words):
    monkeypatch.setattr(jobs, "ARRIVES", 0)
    with pytest.raises(UserError, match=re.escape(words.format(tmp_path))):
        read_back(lambda: None, tmp_path, where)


@pytest.mark.parametrize(
    "error", [UserError("a", "c", expected="b"), UserError("a"), DivergedError()]
)
def test_errors_cross_from_one_process_to_another(error):
    crossed = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own)
    assert type(crossed) is UserError
    assert str(crossed) == str(error)
    assert (crossed.problem, crossed.expected) == (error.problem, error.expected)
