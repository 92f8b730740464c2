"""What a photograph says of itself, on its way to the result."""

import io
import struct

import numpy as np
import pytest
from birefnet_runtime.cutout.compose import Style, compose
from birefnet_runtime.images.metadata import (
    EXIF_PREFIX,
    MOST_EXIF_BYTES,
    first_directory,
    read_exif,
)
from birefnet_runtime.images.read import read_image
from birefnet_runtime.images.write import AVIF, FORMATS, JPEG, PNG, TIFF, WEBP, Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import IFD, Base

RIGHTS = "© Ada, all rights reserved"
CAMERA = {Base.ExposureTime: 0.008, Base.LensModel: "a lens", Base.UserComment: b"ASCII\0\0\0hello"}
PLACE = {1: "N", 2: (47.0, 22.0, 30.0)}


def photograph(form="JPEG", orientation=6, more=None, rights=RIGHTS, **options):
    """A file of 60 x 40 pixels with all that a camera writes."""
    exif = Image.Exif()
    exif[Base.Copyright] = rights.encode()
    exif[Base.Make] = "Maker"
    exif[Base.Orientation] = orientation
    exif[IFD.Exif] = CAMERA | {Base.MakerNote: b"x" * 99, Base.ExifImageWidth: 60}
    exif[IFD.GPSInfo] = PLACE
    for tag, value in (more or {}).items():
        exif[tag] = value
    stream = io.BytesIO()
    options = {"dpi": (300, 150), **options}
    Image.new("RGB", (60, 40), "gray").save(stream, form, exif=exif.tobytes(), **options)
    return stream.getvalue()


def result_of(content, encoding, style=None):
    picture = read_image(content)
    style = style or Style(mask=True)
    stream = io.BytesIO()
    compose(picture, np.ones(picture.size, np.float32), style).save(stream, encoding)
    return Image.open(stream)


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("form", [PNG, JPEG, WEBP, AVIF], ids=lambda form: form.name)
def test_a_result_keeps_what_is_still_true(source, form):
    # Pillow's AVIF writer rewrites EXIF that holds an orientation, in ASCII.
    rights = "(c) Ada" if source == "AVIF" else RIGHTS
    image = result_of(photograph(source, rights=rights), Encoding(form))

    assert image.size == (40, 60)
    exif = image.getexif()
    assert exif[Base.Copyright].encode("latin-1").decode("utf-8") == rights
    assert exif[Base.Make] == "Maker"
    assert Base.Orientation not in exif
    camera = exif.get_ifd(IFD.Exif)
    assert camera[Base.ExposureTime] == pytest.approx(0.008)
    assert {Base.MakerNote, Base.ExifImageWidth}.isdisjoint(camera)
    assert not exif.get_ifd(IFD.GPSInfo)


def test_resolution_turns_with_the_picture():
    for orientation, dpi in ((1, (300, 150)), (6, (150, 300)), (3, (300, 150))):
        content = photograph(orientation=orientation)
        assert read_image(content).dpi == dpi
        for form in (PNG, JPEG, TIFF):
            found = result_of(content, Encoding(form)).info["dpi"]
            assert found == pytest.approx(dpi, rel=1e-3), form.name


def test_a_tiff_keeps_its_texts_and_a_tiff_takes_them(tmp_path):
    exif = Image.Exif()
    exif[Base.Copyright] = RIGHTS.encode()
    Image.new("RGB", (60, 40)).save(tmp_path / "a.tif", exif=exif.tobytes(), dpi=(96, 96))

    found = result_of(photograph(), Encoding(TIFF)).tag_v2
    again = read_image(tmp_path / "a.tif")

    assert found[Base.Copyright].encode("latin-1").decode("utf-8") == RIGHTS
    assert found[Base.Make] == "Maker"
    assert again.dpi == (96, 96)
    assert list(first_directory(again.exif)) == [Base.Copyright]


def test_the_place_stays_on_request_alone():
    content = photograph()

    kept = result_of(content, Encoding(JPEG), Style(mask=True, metadata="keep-gps"))

    assert kept.getexif().get_ifd(IFD.GPSInfo) == PLACE


def test_nothing_goes_along_when_stripped():
    for form in FORMATS:
        image = result_of(photograph(), Encoding(form), Style(mask=True, metadata="strip"))
        assert image.getexif().get(Base.Copyright) is None, form.name
        assert "dpi" not in image.info or image.info["dpi"] in {(72, 72), (1, 1)}, form.name


def test_copyright_in_iptc_is_taken_where_exif_has_none():
    notice = b"(c) an agency"
    record = b"\x1c\x02\x74" + len(notice).to_bytes(2, "big") + notice
    resource = b"8BIM\x04\x04\0\0" + len(record).to_bytes(4, "big") + record
    app13 = b"Photoshop 3.0\0" + resource + b"\0" * (len(record) % 2)
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG")
    content = stream.getvalue()
    segment = b"\xff\xed" + (len(app13) + 2).to_bytes(2, "big") + app13

    picture = read_image(content[:2] + segment + content[2:])

    assert first_directory(picture.exif) == {Base.Copyright: notice.decode()}


def test_large_entries_are_left_out_and_the_rest_stays():
    picture = read_image(photograph(more={Base.ImageDescription: "x" * 20_000}))

    assert Base.ImageDescription not in first_directory(picture.exif)
    assert first_directory(picture.exif)[Base.Make] == "Maker"
    assert len(picture.exif) < MOST_EXIF_BYTES


def test_a_picture_without_any_has_none():
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")

    picture = read_image(stream.getvalue())

    assert (picture.exif, picture.dpi) == (None, None)


XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:r="http://ns.adobe.com/xap/1.0/rights/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/"
 r:WebStatement="https://example.com/rights" photoshop:City="Zurich" tiff:Orientation="6">
 <dc:creator><rdf:Seq><rdf:li>Ada Øst</rdf:li></rdf:Seq></dc:creator>
 <exif:GPSLatitude>47,22.5N</exif:GPSLatitude></rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_maker_and_rights_in_xmp_go_along_and_the_place_on_request(form):
    content = photograph(xmp=XMP)

    kept, with_place, stripped = (
        result_of(content, Encoding(form), Style(mask=True, metadata=metadata))
        for metadata in ("keep", "keep-gps", "strip")
    )

    packet = xmp_of(kept)
    assert "Ada Øst" in packet
    assert "https://example.com/rights" in packet
    for gone in ("Zurich", "47,22.5N", "Orientation"):
        assert gone not in packet
    assert "Zurich" in xmp_of(with_place)
    assert "47,22.5N" in xmp_of(with_place)
    assert "Orientation" not in xmp_of(with_place)
    assert not xmp_of(stripped)


def xmp_of(image):
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    if packet:
        from xml.etree import ElementTree

        ElementTree.fromstring(packet)
    return packet.decode() if isinstance(packet, bytes) else packet


def test_xmp_of_a_result_is_read_again():
    first = result_of(photograph(xmp=XMP), Encoding(PNG))
    stream = io.BytesIO()
    picture = read_image(photograph(xmp=XMP))
    compose(picture, np.ones(picture.size, np.float32), Style(mask=True)).save(stream)

    assert read_image(stream.getvalue()).xmp.decode() == xmp_of(first)


@pytest.mark.parametrize(
    "packet",
    [
        b"<x",
        b"\0" * 50,
        XMP.replace(b"<x:xmpmeta", b'<!DOCTYPE a [<!ENTITY b "c">]><x:xmpmeta', 1),
        XMP.replace(b"dc:creator", b"dc:format").replace(b"r:WebStatement", b"r:Other"),
        b"<a>" * 20_000,
        XMP.replace(b"Ada", b"A" * 70_000),
    ],
)
def test_xmp_that_says_nothing_or_is_damaged_is_left_out(packet):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "WEBP", xmp=packet)
    picture = read_image(stream.getvalue())

    assert picture.xmp is None or b"creator" not in picture.xmp
    assert result_of(stream.getvalue(), Encoding(JPEG)).size == (8, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_resolution_turns_at_four_of_eight_orientations(orientation):
    turned = orientation in {5, 6, 7, 8}

    assert read_image(photograph(orientation=orientation)).dpi == (
        (150, 300) if turned else (300, 150)
    )


def test_too_much_exif_leaves_the_first_directory():
    exif = Image.Exif()
    exif[Base.Artist], exif[Base.Copyright] = "Ada", "all rights"
    exif[IFD.Exif] = dict.fromkeys(range(49152, 49162), b"x" * 8000)
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "WEBP", exif=exif.tobytes())

    picture = read_image(stream.getvalue())

    assert first_directory(picture.exif) == {Base.Artist: "Ada", Base.Copyright: "all rights"}
    assert len(picture.exif) <= MOST_EXIF_BYTES
    assert result_of(stream.getvalue(), Encoding(JPEG)).getexif()[Base.Artist] == "Ada"


def test_iptc_stands_back_behind_exif():
    record = b"\x1c\x02\x50\0\1B"
    app13 = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record
    content = photograph(more={Base.Artist: "A"})
    segment = b"\xff\xed" + struct.pack(">H", len(app13) + 2) + app13

    picture = read_image(content[:2] + segment + content[2:])

    assert first_directory(picture.exif)[Base.Artist] == "A"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 150), st.binary(min_size=1, max_size=8))
def test_damaged_exif_never_costs_the_picture(tail, place, junk):
    whole = EXIF_PREFIX + photograph_exif
    damaged = whole[: 6 + place] + junk + whole[6 + place + len(junk) :]
    for exif in (EXIF_PREFIX + tail, damaged):
        stream = io.BytesIO()
        Image.new("RGB", (8, 8)).save(stream, "PNG", exif=exif)
        picture = read_image(stream.getvalue())
        assert picture.size == (8, 8)
        if picture.exif is not None:
            result_of(stream.getvalue(), Encoding(JPEG))


photograph_exif = read_exif(Image.open(io.BytesIO(photograph())))
