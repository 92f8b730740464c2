"""`birefnet serve`."""

from pathlib import Path

import click
from birefnet_runtime.machine import return_freed_blocks
from birefnet_runtime.segmenter import Opening, Segmenter
from click.core import ParameterSource

from ..serve.access import log, logging_started
from ..serve.listening import answering, is_local, listen, listen_unix
from ..serve.server import Signals, serve
from ..serve.settings import Proxies, Settings, read_keys
from .completion import model_names
from .cutout import DEMONSTRATION
from .options import (
    batch_option,
    opening_options,
    read_bytes,
)
from .terminal import MODEL_HELP, located


def read_proxies(context: click.Context, option: click.Parameter, text: str) -> Proxies:
    """Read `--forwarded-allow-ips`."""
    try:
        return Proxies.parse(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}; give addresses, networks, unix or *") from error


@click.command(
    "serve",
    context_settings={"auto_envvar_prefix": "BIREFNET_SERVE"},
    epilog="Example: birefnet serve --model lite --api-key-file keys.txt",
)
@click.option(
    "--model",
    "-m",
    metavar="MODEL",
    shell_complete=model_names,
    help=MODEL_HELP,
)
@opening_options
@batch_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen: 127.0.0.1 for this machine alone, 0.0.0.0 for every network, localhost "
    "for IPv4 and IPv6 of this machine.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=7000,
    show_default=True,
    help="0 takes a free one, which is printed.",
)
@click.option(
    "--uds",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Listen on a unix socket instead of a port; its rights follow the umask.",
)
@click.option(
    "--forwarded-allow-ips",
    metavar="ADDRESSES",
    default="",
    callback=read_proxies,
    help="Proxies whose X-Forwarded-For is believed, for the client's address in the log: "
    "addresses and networks with commas between them, unix for who comes by a unix socket, * for "
    "all.",
)
@click.option(
    "--queue",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=Settings().queue,
    show_default=True,
    help="Requests that may be under way; further ones get 503 and when to try again.",
)
@click.option(
    "--max-megapixels",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True, max=1000),
    default=Settings().max_pixels / 1e6,
    show_default=True,
    help="Of a picture, by its header; larger ones get 413 without being decoded. All pictures "
    "under way may have four times as many.",
)
@click.option(
    "--max-upload",
    metavar="AMOUNT",
    callback=read_bytes,
    default="25MB",
    show_default=True,
    help="Of a request's body. All bodies in memory may have eight times as many bytes.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True, max=86_400),
    default=Settings().timeout_s,
    show_default=True,
    help="For a body to arrive, for its answer to be made, and for that to be taken.",
)
@click.option(
    "--busy-status",
    type=click.Choice(["503", "429"]),
    default=str(Settings().busy_status),
    show_default=True,
    help="What a full server answers, both with Retry-After. Clients of remove.bg try again after "
    "429 alone, proxies ask another server after 503.",
)
@click.option(
    "--keep-alive",
    metavar="SECONDS",
    type=click.FloatRange(min=0, max=86_400),
    default=Settings().keep_alive_s,
    show_default=True,
    help="Keep a connection open for its next request; longer than the proxy before the server "
    "does.",
)
@click.option(
    "--unload-after",
    metavar="MINUTES",
    type=click.FloatRange(min=0, min_open=True, max=100_000),
    help="Free the model's memory after so long without a picture; the next one opens it again.",
)
@click.option(
    "--drain-delay",
    metavar="SECONDS",
    type=click.FloatRange(min=0, max=3600),
    default=Settings().drain_delay_s,
    show_default=True,
    help="After SIGTERM /ready answers 503 for so long before the port closes, so that balancers "
    "hear of it. Ctrl-C doesn't wait.",
)
@click.option(
    "--api-key-file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keys, one a line, of which a request needs one in its X-Api-Key header. SIGHUP reads it "
    "again.",
)
@click.option("--no-page", is_flag=True, help="Leave out the page at /.")
@click.option(
    "--allow-origin",
    metavar="ORIGIN",
    multiple=True,
    help="Let pages of another site use the server from a browser, as https://example.com; may "
    "be given several times.",
)
@click.option("--json-logs", is_flag=True, help="Log a JSON object for each request.")
def serve_command(
    model: str | None,
    opening: Opening,
    batch: int,
    host: str,
    port: int,
    uds: Path | None,
    forwarded_allow_ips: Proxies,
    queue: int,
    max_megapixels: float,
    max_upload: float,
    timeout: float,
    busy_status: str,
    keep_alive: float,
    unload_after: float | None,
    drain_delay: float,
    api_key_file: Path | None,
    no_page: bool,
    allow_origin: tuple[str, ...],
    json_logs: bool,
) -> None:
    """Cut out what is sent by HTTP, as remove.bg's and rembg's servers do.

    POST /v1.0/removebg and /api/remove take pictures; /health, /ready and /metrics are for those
    who run it, / is a page to try it. Every bound holds whatever is sent. SIGTERM answers what is
    in hand and ends with exit code 0; a second one ends at once.

    Each option is read from the environment, too: BIREFNET_SERVE_PORT for --port, and so on. Keys
    are never an argument, which other users of the machine could see.
    """
    if opening["max_memory"] and batch > 1:
        raise click.UsageError("--max-memory is kept for one image at a time; leave --batch out")
    source = click.get_current_context().get_parameter_source
    if uds is not None and any(
        source(name) == ParameterSource.COMMANDLINE for name in ("host", "port")
    ):
        raise click.UsageError("--uds is instead of --host and --port; leave these out")
    keys = () if api_key_file is None else read_keys(api_key_file)
    return_freed_blocks()  # before threads have heaps
    with (
        listen(host, port) if uds is None else listen_unix(uds) as opened,
        logging_started(as_json=json_logs),
        Signals() as signals,
    ):
        with answering(opened):
            segmenter = Segmenter(located(model or "nano"), **opening)
        if model is None:
            log.warning(DEMONSTRATION)
        if not (keys or all(map(is_local, opened))):
            log.warning("listening beyond this machine without a key: who reaches it may use it")
        settings = Settings(
            queue=queue,
            max_pixels=round(max_megapixels * 1e6),
            max_upload_bytes=round(max_upload),
            timeout_s=timeout,
            drain_delay_s=drain_delay,
            keep_alive_s=keep_alive,
            unload_after_s=None if unload_after is None else 60 * unload_after,
            busy_status=int(busy_status),
            batch=batch,
            keys=keys,
            key_file=api_key_file,
            proxies=forwarded_allow_ips,
            page=not no_page,
            origins=allow_origin,
            memory_left=segmenter.memory_left,
            what_fits=segmenter.what_fits,
        )
        name = Path(model or "nano").name.removesuffix(".onnx")  # no folders: clients see it
        serve(segmenter, settings, name, opened, signals)
