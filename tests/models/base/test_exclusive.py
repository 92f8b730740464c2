import multiprocessing
import threading
import time

import pytest
from birefnet_models.base.files import exclusive


def test_threads_enter_one_after_the_other_and_nothing_is_left(tmp_path):
    inside = most = 0

    def enter():
        nonlocal inside, most
        for _ in range(5):
            with exclusive(tmp_path / "lock"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1
    assert list(tmp_path.iterdir()) == []


def add_one(path):
    for _ in range(20):
        with exclusive(path.with_name("lock")):
            path.write_text(str(int(path.read_text()) + 1))


def test_processes_enter_one_after_the_other(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")

    with multiprocessing.get_context("fork").Pool(3) as pool:
        pool.map(add_one, [counter] * 3, chunksize=1)

    assert counter.read_text() == "60"
    assert list(tmp_path.iterdir()) == [counter]


def test_an_error_frees_the_lock(tmp_path):
    with pytest.raises(KeyError), exclusive(tmp_path / "lock"):
        raise KeyError

    with exclusive(tmp_path / "lock"):
        pass


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), exclusive(tmp_path / "no" / "lock"):
        pass
