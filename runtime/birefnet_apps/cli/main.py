"""The `birefnet` command: a group whose subcommands are found through entry points.

No package is imported here for what its command might need; so `birefnet --help` never meets torch,
nor NumPy, and a distribution that registers a command in the group `birefnet.commands` adds it.
"""

import errno
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import glob
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from types import FrameType
from typing import IO, Any

import click
from birefnet_models.base.errors import BirefnetError, MissingExtraError
from birefnet_models.base.extras import missing_extra
from birefnet_models.base.text import did_you_mean, printable
from birefnet_runtime.errors import (
    MemoryWarning,
    ProviderWarning,
    SizeWarning,
)
from click.shell_completion import CompletionItem

# What `birefnet --help` says of our own commands, so that none is loaded to be listed.
#
# Each is the first sentence of the command's own help; a test holds them together.


LISTED = {
    "birefnet_benchmarks.cli.bench:bench": (
        "Measure configurations of BiRefNet: latency, memory, accuracy."
    ),
    "birefnet_benchmarks.cli.evaluate:evaluate": (
        "Score a model's masks against masks that are known."
    ),
    "birefnet_benchmarks.cli.verify:verify": (
        "Run MODEL and a REFERENCE on the same tensors and images, and compare."
    ),
    "birefnet_export.cli.export:export": (
        "Turn a BiRefNet CHECKPOINT into one ONNX file for any batch and size."
    ),
    "birefnet_export.cli.inspect:inspect": (
        "Say what is in FILE: a checkpoint, an .onnx, or a directory that holds one of them."
    ),
    "birefnet_apps.cli.completion:completion": (
        "Print the script that makes a SHELL complete this command: bash, zsh or fish."
    ),
    "birefnet_apps.cli.cutout:cutout": (
        "Cut the subject out of images: files, whole folders, - for standard input."
    ),
    "birefnet_apps.cli.deploy:triton": (
        "Write a model repository for NVIDIA's Triton Inference Server, 26.07 or later."
    ),
    "birefnet_apps.cli.deploy:warm": (
        "Do in advance what MODEL's first opening on a provider takes, so that no user waits."
    ),
    "birefnet_apps.cli.doctor:doctor": "Say what this machine can run on, by trying it.",
    "birefnet_apps.cli.models:models": (
        "List the models that are known by name and what is in the cache, or show everything about "
        "some."
    ),
    "birefnet_apps.cli.serve:serve_command": (
        "Cut out what is sent by HTTP, as remove.bg's and rembg's servers do."
    ),
    "birefnet_apps.cli.video:video": (
        "Cut the subject out of a video, with ffmpeg, into a video with alpha; - for standard "
        "input."
    ),
}
"""By the value of the entry point; a command that is not ours is loaded for its own words."""

LOGGER = "birefnet"
"""The library's, which has no handler of its own."""
COMMANDS = "birefnet.commands"
OWN_COMMANDS = EntryPoints(
    [EntryPoint("completion", "birefnet_apps.cli.completion:completion", COMMANDS)]
)
"""A command of this one's, which no distribution has to register."""
SERVICES = frozenset({"serve"})
"""Commands that run until they are told to end, which is not a failure."""
SERVICE = "birefnet.service"
"""In a context's `meta`: whether one of these was asked for."""
SIGHUP = getattr(signal, "SIGHUP", -1)
"""Of a terminal that is closed; Windows has none."""
ENDING = (signal.SIGINT, signal.SIGTERM, *([SIGHUP] if SIGHUP > 0 else []))
"""Signals that ask a program to end."""


class Terminated(KeyboardInterrupt):
    """A signal other than Ctrl-C's asks the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class OneLine(click.ClickException):
    """An error of the library, as the command line shows it."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(printable(f"birefnet: {self.message}"), file=file or sys.stderr)


class EntryPointGroup(click.Group):
    """The commands registered under `birefnet.commands`, each loaded when it is asked for."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command. Closed standard streams are stood in for: an input that is empty, an
        output that can't be written."""
        for name, mode in (("stdin", "r"), ("stdout", "r"), ("stderr", "w")):
            if getattr(sys, name) is None:
                setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
        if os.name == "nt" and not args and kwargs.get("args") is None:
            kwargs["args"] = with_patterns(sys.argv[1:])
        try:
            # click's own expansion takes img[1].png for img1.png, and $name for a variable.
            return super().main(*args, **{"windows_expand_args": False, **kwargs})
        finally:
            try:
                sys.stdout.flush()
            except OSError:  # has been reported; Python would try again at its end
                with suppress(OSError), open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), sys.stdout.fileno())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = next((word for word in args if not word.startswith("-")), "")
        ctx.meta[SERVICE] = named in SERVICES
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*entry_points(group=COMMANDS).names, *OWN_COMMANDS.names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for entry_point in (
            *entry_points(group=COMMANDS, name=cmd_name),
            *OWN_COMMANDS.select(name=cmd_name),
        ):
            try:
                command: click.Command = entry_point.load()
            except ModuleNotFoundError as error:
                missing = missing_extra(error.name)
                if missing is None:
                    raise
                return _unavailable(cmd_name, missing)
            return command
        hint = did_you_mean(cmd_name, self.list_commands(ctx))
        if hint and not ctx.resilient_parsing and not cmd_name.startswith("-"):
            raise click.UsageError(f"no such command {cmd_name!r}{hint}", ctx)
        return None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin so, none of them loaded; of a word with a dash the options."""
        found = [
            CompletionItem(each.name, help=LISTED.get(each.value))
            for each in (*entry_points(group=COMMANDS), *OWN_COMMANDS)
            if each.name.startswith(incomplete)
        ]
        return [
            *sorted(found, key=lambda item: item.value),
            *click.Command.shell_complete(self, ctx, incomplete),
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, without loading those whose summary is known."""
        listed = click.Group(ctx.info_name)
        for entry_point in sorted(
            (*entry_points(group=COMMANDS), *OWN_COMMANDS), key=lambda one: one.name
        ):
            summary = LISTED.get(entry_point.value)
            known = click.Command(entry_point.name, short_help=summary) if summary else None
            command = known or self.get_command(ctx, entry_point.name)
            if command is not None:
                listed.add_command(command, entry_point.name)
        listed.format_commands(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _notes_as_lines(), _termination_as_interrupt(ctx.meta[SERVICE]):
                return super().invoke(ctx)
        except BirefnetError as error:
            raise OneLine(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE or not _comes_of_printing(error):
                raise  # click ends quietly where a pipe's reader has left
            reason = error.strerror or "it is closed"
            raise OneLine(f"standard output can't be written: {reason.lower()}") from error
        except ModuleNotFoundError as error:
            missing = missing_extra(error.name)
            if missing is None:
                raise
            raise OneLine(str(missing)) from error


@click.group(
    cls=EntryPointGroup,
    epilog="Example: birefnet cutout photo.jpg --output cutout.png",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="birefnet-ort", prog_name="birefnet")
@click.option(
    "--no-compiled",
    is_flag=True,
    hidden=True,  # the old place of an option that the commands have; they look for it here
)
def main(no_compiled: bool) -> None:
    """Cut subjects out of images with BiRefNet and ONNX Runtime."""


def with_patterns(arguments: list[str]) -> list[str]:
    """Replace arguments with `*` and `?` by the files they match, which shells of Windows don't do.

    No file of Windows has these characters in its name; others, as brackets, stand for themselves.
    """
    found = []
    for argument in arguments:
        is_pattern = not argument.startswith("-") and ("*" in argument or "?" in argument)
        matches = sorted(glob(argument.replace("[", "[[]"))) if is_pattern else []
        found += matches or [argument]
    return found


def _unavailable(name: str, missing: MissingExtraError) -> click.Command:
    """Stands in for a command whose module can't be imported: listed, and says why it won't run."""

    def refuse(**_: Any) -> None:
        raise missing

    return click.Command(
        name,
        callback=refuse,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        short_help=f"({str(missing).partition(';')[0]})",
        add_help_option=False,
    )


class _LineHandler(logging.Handler):
    """Shows what the library logs as the command line's own lines, past a stderr that is caught."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == LOGGER:  # the server's has a handler of its own
            from birefnet_runtime.stderr import write_line  # for what takes long alone

            write_line(printable(f"birefnet: {record.getMessage()}"))


@contextmanager
def _notes_as_lines() -> Iterator[None]:
    """Show what the library logs, and its own warnings, like its errors: without a source line."""
    log, handler = logging.getLogger(LOGGER), _LineHandler()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    with warnings.catch_warnings():
        show = warnings.showwarning

        def showwarning(
            message: Warning | str, category: type[Warning], *rest: Any, **named: Any
        ) -> None:
            if issubclass(category, MemoryWarning | ProviderWarning | SizeWarning):
                # Not echo, which would write behind a progress bar's back.
                print(printable(f"birefnet: {message}"), file=sys.stderr)
            else:
                show(message, category, *rest, **named)

        warnings.showwarning = showwarning
        try:
            yield
        finally:
            log.setLevel(level)
            log.removeHandler(handler)


@contextmanager
def _termination_as_interrupt(service: bool) -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does: what it has begun to write is removed.

    Args:
        service: the command is one that may be told to end. Until it handles signals itself it
            has done nothing, and ends quietly, with code 0.

    Raises:
        click.exceptions.Exit: it was ended so, or by Ctrl-C; with the code that shells give.
    """

    def handle(number: int, _: FrameType | None) -> None:
        if service:
            os._exit(0)  # an exception in the middle of NumPy's import comes out as another one
        if number == SIGHUP:
            leave_terminal()
        raise Terminated(number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in ENDING if service else ENDING[1:]:
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                before[number] = signal.signal(number, handle)
    try:
        yield
    except KeyboardInterrupt as error:
        with suppress(OSError):
            click.echo("Aborted!", err=True)
        number = error.number if isinstance(error, Terminated) else signal.SIGINT
        raise click.exceptions.Exit(128 + number) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_terminal() -> None:
    """Do without a terminal that was closed, where every line would be an error."""
    for descriptor in range(3):
        with suppress(OSError):
            if os.isatty(descriptor):
                nowhere = os.open(os.devnull, os.O_RDWR)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def _comes_of_printing(error: OSError) -> bool:
    """Whether an error was raised as a line was printed, and not by our own files."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    module = str(trace.tb_frame.f_globals.get("__name__")) if trace else ""
    return module.partition(".")[0] in {"click", "rich"}
