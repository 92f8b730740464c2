import os
import threading

import pytest
from birefnet_runtime.session.native_log import caught_stderr, say


def test_what_native_code_writes_is_caught(capfd):
    with caught_stderr() as caught:
        os.write(2, b"from C++\n")
        print("from a block that says", flush=True)
        say("a line for people")

    assert caught.text == "from C++\n"
    out, err = capfd.readouterr()
    assert (out, err) == ("from a block that says\n", "a line for people\n")


def test_it_ends_with_the_block_however_that_ends(capfd):
    def fail():
        os.write(2, b"before\n")
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"), caught_stderr() as caught:
        fail()
    os.write(2, b"after\n")
    say("and a line")

    assert caught.text == "before\n"
    assert capfd.readouterr().err == "after\nand a line\n"


def test_not_enabled(capfd):
    with caught_stderr(enabled=False) as caught:
        os.write(2, b"shown\n")

    assert (caught.text, capfd.readouterr().err) == ("", "shown\n")


def test_one_block_at_a_time(capfd):
    """Two threads that open sessions do not lose each other's stderr."""

    def work():
        for _ in range(50):
            with caught_stderr():
                os.write(2, b"x")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"end\n")

    assert capfd.readouterr().err == "end\n"
