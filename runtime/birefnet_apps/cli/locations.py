"""Paths and URLs as arguments of commands."""

import io
from typing import IO, Any

import click

from ..storage import Location, RemotePath, file_at, is_url, parse_location


class LocationType(click.ParamType):  # type: ignore[type-arg]  # not generic in click 8.3
    """A path of this machine, or the URL of an object store."""

    name = "path or URL"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Location:
        return parse_location(value)


class ListType(click.File):
    """A file that is opened, standard input, or an object that is read whole."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> IO[Any]:
        if not isinstance(value, str) or not is_url(value):
            return super().convert(value, param, ctx)
        place = parse_location(value)
        if not isinstance(place, RemotePath):
            return super().convert(str(place), param, ctx)
        content = file_at(place).read()
        assert isinstance(content, bytes)
        return io.BytesIO(content)
