import os
import signal
import threading

import pytest
from birefnet_apps.cli.terminal import interruptible, progress_bar, say


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_ctrl_c_is_a_question_and_the_second_interrupts(capsys):
    before = signal.getsignal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), interruptible() as stopped:  # noqa: PT012
        assert not stopped()
        press()
        assert stopped()
        assert capsys.readouterr().err == (
            "birefnet: finishing what is in hand; Ctrl-C again to drop it\n"
        )
        press()
    assert signal.getsignal(signal.SIGINT) == before


def test_beside_the_main_thread_signals_are_left_alone():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with interruptible() as stopped:
            seen.extend([stopped(), signal.getsignal(signal.SIGINT)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [False, before]


def test_a_line_is_printed_as_it_is(capsys):
    say("[bold]a[/bold] :smile: " + 300 * "x")

    assert capsys.readouterr().err == f"birefnet: [bold]a[/bold] :smile: {300 * 'x'}\n"


def test_one_thing_has_no_bar():
    assert progress_bar(1).disable
    assert not progress_bar(2).disable
    assert not progress_bar(None).disable, "how many there are isn't always known"
