"""What a photograph says of itself, on its way to the result: EXIF, XMP and resolution.

Kept is what is still true of a cutout: who made it, when, with what, under which rights. Left out
is what describes the old file (orientation, dimensions, thumbnail) or can't be carried over whole
(maker notes, which point into the old file). Tags are those of EXIF 3.0 (CIPA DC-008).
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from PIL import Image, ImageFile, ImageOps
from PIL.ExifTags import IFD, Base

from .pillow_settings import DECODING_ERRORS

MOST_EXIF_BYTES = 60_000
"""Of all EXIF: JPEG holds 65,533 bytes in one segment."""
MOST_ENTRY_BYTES = 8_192
MOST_DPI = 100_000
EXIF_PREFIX = b"Exif\0\0"
"""Before the TIFF structure, where a JPEG holds one."""
_KEPT = (
    Base.ImageDescription,
    Base.Make,
    Base.Model,
    Base.Software,
    Base.DateTime,
    Base.Artist,
    Base.HostComputer,
    Base.Rating,
    Base.Copyright,
)
"""Of the first directory, which in a TIFF also describes where its pixels lie."""
_LEFT_OUT = frozenset(
    {
        Base.MakerNote,
        Base.ExifImageWidth,
        Base.ExifImageHeight,
        Base.ExifInteroperabilityOffset,
        Base.ComponentsConfiguration,
        Base.CompressedBitsPerPixel,
        Base.RelatedSoundFile,
    }
)
"""Of the directory with the camera's settings."""
_IPTC = {Base.Artist: (2, 80), Base.Copyright: (2, 116), Base.ImageDescription: (2, 120)}
"""Where IPTC-IIM has the same, for files that have no such tag in EXIF."""
XMP = "birefnet_xmp"
"""Where an opened image's `info` has its XMP packet, as bytes."""
_XMP_KEYS = ("xmp", "XML:com.adobe.xmp")
_MOST_XMP_BYTES = 1 << 20
_PACKET_START = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_PACKET_END = b'<?xpacket end="w"?>'
_RDF, _XMP_META = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "adobe:ns:meta/"
_XMP_NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "exif": "http://ns.adobe.com/exif/1.0/",
}
_XMP_KEPT, _XMP_PLACE = (
    frozenset(
        f"{{{_XMP_NAMESPACES[prefix]}}}{name}" for prefix in names for name in names[prefix].split()
    )
    for names in (
        {
            "dc": "creator rights title description",
            "xmpRights": "WebStatement Marked UsageTerms Owner Certificate",
            "photoshop": "Credit Source AuthorsPosition DateCreated CopyrightFlag URL",
            "plus": "Licensor CopyrightOwner ImageCreator LicensorURL",
            "Iptc4xmpCore": "CreatorContactInfo",
            "Iptc4xmpExt": "DigitalSourceType",
        },
        {
            "photoshop": "City State Country",
            "Iptc4xmpCore": "Location CountryCode",
            "Iptc4xmpExt": "LocationCreated LocationShown",
            "exif": "GPSLatitude GPSLongitude GPSAltitude GPSAltitudeRef GPSTimeStamp",
        },
    )
)
"""Properties of maker and rights, and of the place, as ElementTree names them."""
_TRANSPOSED = frozenset({5, 6, 7, 8})
"""Orientations that exchange width and height."""


def turn_upright(image: Image.Image) -> None:
    """Turn a decoded image by its EXIF orientation, in place; damaged EXIF doesn't cost it."""
    take_xmp(image)  # a PNG may have it behind its pixels
    with suppress(*DECODING_ERRORS):
        ImageOps.exif_transpose(image, in_place=True)


def upright(frame: Image.Image) -> Image.Image:
    """A decoded frame of an animation, turned by the EXIF orientation; the frame itself stays."""
    take_xmp(frame)
    with suppress(*DECODING_ERRORS):
        return ImageOps.exif_transpose(frame)
    return frame


def take_xmp(image: Image.Image) -> None:
    """Move the XMP of an opened file to where Pillow doesn't look for an orientation.

    Pillow turns pictures by an orientation that XMP alone has; other programs and browsers don't.
    """
    for key in _XMP_KEYS:
        if (xmp := image.info.pop(key, None)) is not None:
            image.info[XMP] = xmp.encode() if isinstance(xmp, str) else xmp


def read_exif(image: Image.Image) -> bytes | None:
    """The EXIF of an opened file that is true of a cutout, too, the place among it.

    Returns:
        a TIFF structure, at most `MOST_BYTES`; None if there is nothing to keep. What is damaged
        is left out.
    """
    try:
        stored = image.getexif()
        kept = _some(stored, _KEPT)
        camera = stored.get_ifd(IFD.Exif)
        place = stored.get_ifd(IFD.GPSInfo)
        iptc = _read_iptc(image)
    except DECODING_ERRORS:
        return None
    for tag, name in _IPTC.items():
        text = (iptc or {}).get(name)
        if tag not in kept and isinstance(text, bytes) and 0 < len(text) <= MOST_ENTRY_BYTES:
            kept[tag] = text
    whole = kept | {
        IFD.Exif: _some(camera, [tag for tag in camera if tag not in _LEFT_OUT]),
        IFD.GPSInfo: _some(place, place),
    }
    return _encoded(whole) or _encoded(kept)


def _read_iptc(image: Image.Image) -> dict[tuple[int, int], Any] | None:
    """Records of IPTC-IIM by number; None if the file has none."""
    if image.format not in {"JPEG", "MPO", "TIFF"} or not isinstance(image, ImageFile.ImageFile):
        return None
    from PIL.IptcImagePlugin import getiptcinfo  # with the readers of these formats, not before

    return getiptcinfo(image)


def without_location(exif: bytes) -> bytes | None:
    """The same EXIF without the place where the photograph was taken; None if nothing remains."""
    stored = _decoded(exif)
    return _encoded(_some(stored, _KEPT) | {IFD.Exif: dict(stored.get_ifd(IFD.Exif))})


def first_directory(exif: bytes | None) -> dict[int, str | bytes]:
    """Texts of the first directory by tag, for formats that take them one by one."""
    kept = _some(_decoded(exif), _KEPT) if exif else {}
    return {tag: value for tag, value in kept.items() if isinstance(value, str | bytes)}


def read_dpi(image: Image.Image) -> tuple[float, float] | None:
    """Pixels an inch, across and down, of the upright picture; None if the file doesn't say."""
    take_xmp(image)
    try:
        across, down = (float(each) for each in image.info["dpi"])
        # A PNG may have its orientation behind the pixels; it isn't decoded for this.
        known = image.format != "PNG" or "exif" in image.info
        orientation = image.getexif().get(Base.Orientation) if known else None
    except DECODING_ERRORS:
        return None
    if not (1 <= across < MOST_DPI and 1 <= down < MOST_DPI):
        return None
    return (down, across) if orientation in _TRANSPOSED else (across, down)


def _some(directory: Mapping[int, Any], tags: Iterable[int]) -> dict[int, Any]:
    """Those entries that are there, of a reasonable size, and can be written."""
    found = {int(tag): directory[tag] for tag in tags if _is_sound(directory.get(tag))}
    for tag, value in found.items():
        if isinstance(value, str) and not value.isascii():
            found[tag] = value.encode("latin-1")  # as Pillow read it; often it is UTF-8
    if _encoded(found) is None:  # one is damaged
        found = {tag: value for tag, value in found.items() if _encoded({tag: value})}
    return found


def _is_sound(value: Any) -> bool:
    if isinstance(value, str | bytes | tuple):
        return 0 < len(value) <= MOST_ENTRY_BYTES
    return value is not None and not isinstance(value, dict)


def _decoded(exif: bytes) -> Image.Exif:
    stored = Image.Exif()
    stored.load(EXIF_PREFIX + exif)
    return stored


def _encoded(directory: Mapping[int, Any]) -> bytes | None:
    """A directory as a TIFF structure; None if it is empty, too large, or can't be written."""
    exif = Image.Exif()
    for tag, value in directory.items():
        if value != {}:
            exif[tag] = value
    try:
        content = exif.tobytes().removeprefix(EXIF_PREFIX) if len(exif) else b""
    except DECODING_ERRORS:
        return None
    return content if 0 < len(content) <= MOST_EXIF_BYTES else None


def read_xmp(image: Image.Image) -> bytes | None:
    """What the XMP of a decoded file, which has some (`XMP`), says of maker, rights and place.

    Returns:
        a packet that says only this, at most `MOST_BYTES`; None if there is nothing to keep.
    """
    return _kept_xmp(image.info[XMP], _XMP_KEPT | _XMP_PLACE)


def xmp_without_location(packet: bytes) -> bytes | None:
    """The same XMP without the place where the photograph was taken; None if nothing remains."""
    return _kept_xmp(packet, _XMP_KEPT)


def _kept_xmp(packet: bytes, kept: frozenset[str]) -> bytes | None:
    """A packet of those properties of another, by `{namespace}name`."""
    # An entity may stand for what is a million times as long; XMP has none.
    if len(packet) > _MOST_XMP_BYTES or b"<!" in packet.replace(b"<!--", b""):
        return None
    from xml.etree import ElementTree  # with the few files that have XMP

    rdf, description = f"{{{_RDF}}}RDF", f"{{{_RDF}}}Description"
    for prefix, namespace in _XMP_NAMESPACES.items():
        ElementTree.register_namespace(prefix, namespace)
    ElementTree.register_namespace("rdf", _RDF)
    ElementTree.register_namespace("x", _XMP_META)
    try:
        root = ElementTree.fromstring(packet.strip(b"\0 \r\n\t"))
        result = ElementTree.Element(f"{{{_XMP_META}}}xmpmeta")
        about = ElementTree.SubElement(ElementTree.SubElement(result, rdf), description)
        about.set(f"{{{_RDF}}}about", "")
        for each in root.iter(rdf):
            for properties in each.findall(description):
                about.extend(child for child in properties if child.tag in kept)
                found = {name: text for name, text in properties.attrib.items() if name in kept}
                about.attrib.update(found)
        if len(about) == 0 and len(about.attrib) == 1:
            return None
        content: bytes = ElementTree.tostring(result, "utf-8")
    except DECODING_ERRORS:
        return None
    content = content.removeprefix(b"<?xml version='1.0' encoding='utf-8'?>\n")
    whole = _PACKET_START + content + _PACKET_END
    return whole if len(whole) <= MOST_EXIF_BYTES else None
