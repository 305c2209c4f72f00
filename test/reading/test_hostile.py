"""Files that would have a reader die, hang, take all memory, look elsewhere, or tell what is not theirs."""

import gzip
import os
import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGLSLossless

from helpers import Series, phantom, read_here, why_unreadable, write_scan
from model.errors import InputError, one_line
from model.reading import child
from model.reading.scan import read_scan

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of what is damaged

Edit = Callable[[bytes], bytes]


def line(key: str, value: str) -> Edit:
    """Another value of a key of a MetaImage or NRRD header."""

    def edit(content: bytes) -> bytes:
        start = content.index(f"\n{key}".encode()) + 1
        end = content.index(b"\n", start)
        sign = " = " if b" = " in content[start:end] else ": "
        return content[:start] + f"{key}{sign}{value}".encode("latin-1") + content[end:]

    return edit


def before(key: str, text: str) -> Edit:
    """More lines before that of a key."""
    return lambda content: content.replace(f"\n{key}".encode(), f"\n{text}\n{key}".encode(), 1)


def field(offset: int, layout: str, *values: float) -> Edit:
    """Other bytes of a NIfTI header."""
    packed = struct.pack(f"<{layout}", *values)
    return lambda content: content[:offset] + packed + content[offset + len(packed) :]


ELSEWHERE = "one data file named plainly"
HOSTILE: dict[str, tuple[str, Edit, str]] = {
    "list of slices": ("a.mha", line("ElementDataFile", "LIST\ns1.raw\ns2.raw"), ELSEWHERE),
    "list, 2D": ("a.mha", line("ElementDataFile", "LIST 2"), ELSEWHERE),
    "pattern": ("a.mha", line("ElementDataFile", "s%02d.raw 1 4 1"), ELSEWHERE),
    "pattern of step 0": ("a.mha", line("ElementDataFile", "s%02d.raw 1 4 0"), ELSEWHERE),
    "pattern that writes": ("a.mha", line("ElementDataFile", "s%n%s.raw 1 4 1"), ELSEWHERE),
    "file above": ("a.mha", line("ElementDataFile", "../a.raw"), ELSEWHERE),
    "file with a path": ("a.mha", line("ElementDataFile", "/etc/passwd"), ELSEWHERE),
    "device": ("a.mha", line("ElementDataFile", "/dev/zero"), ELSEWHERE),
    "folder as data": ("a.mha", line("ElementDataFile", ".."), ELSEWHERE),
    "file of another machine": ("a.mha", line("ElementDataFile", "C:\\a.raw"), ELSEWHERE),
    "header of 0.0 bytes": ("a.mha", before("ElementType", "HeaderSize = 0.0"), "as HeaderSize"),
    "header longer than the file": ("a.mha", before("ElementType", "HeaderSize = 99999999"), "HeaderSize"),
    "1000 dimensions": ("a.mha", line("NDims", "1000"), "expected 3 dimensions, found 1000"),
    "10^30 dimensions": ("a.mha", line("NDims", "1" + 30 * "0"), "whole numbers as NDims"),
    "huge": ("a.mha", line("DimSize", "60000 60000 60000"), "mm in length"),
    "beyond 64 bits": ("a.mha", line("DimSize", "4294967296 4294967296 2"), "at most 65536 voxels along"),
    "negative size": ("a.mha", line("DimSize", "-48 -40 16"), "at least two slices"),
    "more slices than there are": ("a.mha", line("DimSize", "48 40 17"), "the file is truncated"),
    "nested arithmetic": ("a.mha", line("DimSize", "48 4_0 16"), "whole numbers as DimSize"),
    "zero byte in a line": ("a.mha", before("ElementType", "Comment = a\0b"), "lines `key = value`"),
    "400 numbers": ("d.nrrd", line("sizes", " ".join(["48"] * 400)), "whole numbers as sizes"),
    "400 directions": ("d.nrrd", line("space directions", "(1,0,0) " * 400), "space directions"),
    "vector of 400": ("d.nrrd", line("space origin", f"({','.join(['1'] * 400)})"), "as space origin"),
    "NRRD of 1000 dimensions": ("d.nrrd", line("dimension", "1000"), "expected 3 dimensions, found 1000"),
    "NRRD's list": ("d.nrrd", before("encoding", "data file: LIST"), ELSEWHERE),
    "NRRD's pattern": ("d.nrrd", before("encoding", "data file: s%03d.raw 1 3 1"), ELSEWHERE),
    "NRRD's file above": ("d.nrrd", before("encoding", "data file: ../x.raw"), ELSEWHERE),
    "a billion lines skipped": ("d.nrrd", before("encoding", "line skip: 1000000000"), "no line skip"),
    "byte skip of -2": ("d.nrrd", before("encoding", "byte skip: -2"), "no line skip"),
    "bzip2": ("d.nrrd", line("encoding", "bzip2"), "the encoding raw or gzip"),
    "text": ("d.nrrd", line("encoding", "ascii"), "the encoding raw or gzip"),
    "block": ("d.nrrd", line("type", "block"), "a type of whole numbers"),
    "8 dimensions": ("b.nii", field(40, "h", 8), "expected 3 dimensions, found 8"),
    "negative dimension": ("b.nii", field(42, "h", -48), "at least two slices"),
    "NIfTI beyond its end": ("b.nii", field(46, "h", 17), "the file is truncated"),
    "offset of infinity": ("b.nii", field(108, "f", np.inf), "expected voxels from byte 352"),
    "offset between bytes": ("b.nii", field(108, "f", 352.5), "expected voxels from byte 352"),
    "offset beyond the end": ("b.nii", field(108, "f", 1e9), "the file is truncated"),
    "bits of another type": ("b.nii", field(72, "h", 8), "a datatype of whole or floating-point"),
    "RGB": ("b.nii", field(70, "h", 128), "found 3 (colours, vectors)"),
    "1 bit": ("b.nii", field(70, "2h", 1, 1), "a datatype of whole or floating-point"),
    "header alone": ("b.nii", field(344, "4s", b"ni1\0"), "NIfTI-1 in one file"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_refused_before_anything_is_allocated(name: str, tmp_path: Path) -> None:
    file, edit, message = HOSTILE[name]
    path = write_scan(tmp_path / "in" / file, compress=False)
    (tmp_path / "a.raw").write_bytes(bytes(2 * 16 * 40 * 48))
    path.write_bytes(edit(path.read_bytes()))

    def allocate(shape: tuple[int, int, int], kind: np.dtype[Any]) -> npt.NDArray[Any]:
        raise AssertionError(f"{shape} voxels of {kind}")

    with pytest.raises(InputError) as caught:
        read_scan(path, None, allocate)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: expected ")


def test_many_comments_are_passed_over(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.mha", compress=False)
    path.write_bytes(before("ElementType", "\n".join(["Comment = x"] * 5000))(path.read_bytes()))
    np.testing.assert_array_equal(read_here(path).hu, phantom())


def nifti_of(size: tuple[int, int, int]) -> bytes:
    """A header of int16 voxels of 1 mm."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *size, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, 0.5, 0.5, 0.5, 0, 0, 0, 0)
    struct.pack_into("<f", header, 108, 352)
    struct.pack_into("<4s", header, 344, b"n+1\0")
    return bytes(header)


def test_a_small_file_that_claims_much(tmp_path: Path) -> None:
    """17 GB in 35 KB cannot be; 17 GB in 17 MB can, and does not fit."""
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti_of((2000, 2000, 2000)) + os.urandom(35_000)))
    assert "compressed ones, which cannot hold them" in why_unreadable(path)
    with pytest.raises(InputError, match=r"a\.nii\.gz: expected 16000000000 bytes of voxels"):
        child.read("scan", path)
    path.write_bytes(gzip.compress(nifti_of((2000, 2000, 2000))) + bytes(17_000_000))
    with pytest.raises(InputError, match=r"of memory can hold, found a larger one|damage after") as caught:
        child.read("scan", path)
    assert str(caught.value).startswith(str(path))


def test_a_stream_that_never_ends_is_left(tmp_path: Path) -> None:
    """1 GB of zeros behind the voxels: not unpacked to their end."""
    path = write_scan(tmp_path / "a.nii", compress=False)
    path.with_suffix(".nii.gz").write_bytes(
        gzip.compress(path.read_bytes()) + 100 * gzip.compress(bytes(10_000_000), 1)
    )
    assert "after unpacking, found more" in why_unreadable(path.with_suffix(".nii.gz"))


@pytest.mark.parametrize("name", ["a.mha", "a.nii.gz", "a.nrrd", "a.dcm", "a"])
def test_pipes_and_devices(tmp_path: Path, name: str) -> None:
    for make in (os.mkfifo, lambda path: os.symlink("/dev/zero", path)):
        path = tmp_path / name
        make(path)
        assert "found a pipe or device" in why_unreadable(path)
        path.unlink()
    os.symlink(tmp_path / name, tmp_path / name)
    assert "found Too many levels of symbolic links" in why_unreadable(tmp_path / name)


def test_dicom_nested_20000_deep(tmp_path: Path) -> None:
    last = Series().write(tmp_path)[-1]
    deep = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 20_000
    content = last.read_bytes()
    at = content.index(b"\x10\x00\x10\x00") if b"\x10\x00\x10\x00" in content else 400
    last.write_bytes(content[:at] + deep + content[at:])
    with pytest.raises(InputError) as caught:
        child.read("scan", tmp_path)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 0, 3])
def test_dicom_lengths_that_are_damaged(tmp_path: Path, length: int) -> None:
    """Of any element of the slice in the middle: read as it is, or refused."""
    paths = Series(hu=phantom((3, 24, 24))).write(tmp_path)
    whole = paths[1].read_bytes()
    for element in pydicom.dcmread(paths[1]):
        assert element.file_tell is not None
        at = element.file_tell - 4  # implicit VR: the length is before the value
        paths[1].write_bytes(whole[:at] + length.to_bytes(4, "little") + whole[at + 4 :])
        with suppress(InputError):
            np.testing.assert_array_equal(read_here(tmp_path).hu, phantom((3, 24, 24)), str(element.tag))


def test_no_more_memory_than_the_file_has_bytes(tmp_path: Path) -> None:
    path = Series(hu=phantom((3, 24, 24))).write(tmp_path)[0]
    whole = path.read_bytes()
    at = whole.index(b"\x08\x00\x16\x00") + 4  # SOPClassUID
    path.write_bytes(whole[:at] + b"\xff\xff\xff\x7f" + whole[at + 4 :])
    tracemalloc.start()
    assert "found a damaged one" in why_unreadable(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def stale(value: int) -> Callable[[tuple[int, int, int], np.dtype[Any]], npt.NDArray[Any]]:
    """Memory that holds another patient's voxels."""

    def allocate(shape: tuple[int, int, int], kind: np.dtype[Any]) -> npt.NDArray[Any]:
        return np.full(shape, value).astype(kind)

    return allocate


def outcome(path: Path, value: int) -> bytes:
    try:
        image = read_scan(path, None, stale(value))
    except InputError as error:
        return one_line(error).encode()  # as it is told: a name in a header may be no text
    assert image.voxels is not None
    return image.voxels.tobytes()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A file of each kind, whose mutations are read."""
    folder, hu = tmp_path_factory.mktemp("sound"), phantom((6, 16, 16))
    names = {"a.mha": False, "b.mha": True, "c.nii": False, "d.nii.gz": True, "e.nrrd": False, "f.nrrd": True}
    return {name: write_scan(folder / name, hu, packed).read_bytes() for name, packed in names.items()}


TOKENS = [b"LIST", b"%d 1 2 1", b"0.0", b"-1", b"9", b"1e9", b"False", b"True", b"\n", b"= ", b"\0"]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_what_is_read_was_in_the_file(data: st.DataObject, sound: dict[str, bytes]) -> None:
    """Whatever the header says: the same voxels, or the same reason, whatever was in the memory before."""
    name = data.draw(st.sampled_from(sorted(sound)))
    content = bytearray(sound[name])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(len(content), 500) - 1))
        change = data.draw(st.sampled_from(TOKENS) | st.binary(min_size=1, max_size=4))
        gone = data.draw(st.integers(0, 6))
        content[at : at + gone] = change
    kept = data.draw(st.integers(len(content) * 9 // 10, len(content)))
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"hostile-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content[:kept])
    try:
        assert outcome(path, 7) == outcome(path, -900)
    finally:
        path.unlink()
        folder.rmdir()


def test_scans_one_after_the_other_in_one_process(tmp_path: Path) -> None:
    """Patient A, then B with fewer slices than its header says, then B as it is."""
    one = write_scan(tmp_path / "a.mha", phantom(seed=1), compress=False)
    other = write_scan(tmp_path / "b.mha", phantom(seed=2), compress=False)
    whole = other.read_bytes()
    np.testing.assert_array_equal(child.read("scan", one).voxels, phantom(seed=1))
    other.write_bytes(whole[: -2 * 40 * 48])
    with pytest.raises(InputError, match="the file is truncated"):
        child.read("scan", other)
    other.write_bytes(whole)
    np.testing.assert_array_equal(child.read("scan", other).voxels, phantom(seed=2))


@pytest.mark.parametrize(("rows", "columns"), [(0xFFFF, 0xFFFF), (0x7FFF, 0x7FFF), (24, 25)])
def test_a_compressed_stream_that_claims_much(tmp_path: Path, rows: int, columns: int) -> None:
    """A codec would make room for it, and try for minutes."""
    for path in Series(hu=phantom((3, 24, 24))).write(tmp_path):
        data = pydicom.dcmread(path)
        data.compress(JPEGLSLossless)
        data.save_as(path)
    whole = path.read_bytes()
    at = whole.index(b"\xff\xf7") + 5  # start of frame: rows and columns
    path.write_bytes(whole[:at] + struct.pack(">2H", rows, columns) + whole[at + 4 :])
    assert f"found a stream of ({rows}, {columns}), not (24, 24)" in why_unreadable(tmp_path)


def test_pixels_are_counted_before_room_is_made(tmp_path: Path) -> None:
    for path in Series(hu=phantom((3, 24, 24))).write(tmp_path):
        data = pydicom.dcmread(path)
        data.Rows = data.Columns = 65535
        data.PixelSpacing = [0.06, 0.06]
        data.save_as(path)

    def allocate(shape: tuple[int, int, int], kind: np.dtype[Any]) -> npt.NDArray[Any]:
        raise AssertionError(f"{shape} voxels of {kind}")

    with pytest.raises(InputError, match="bytes, which cannot hold 8589672450 of pixels"):
        read_scan(tmp_path, None, allocate)


def test_a_value_that_cannot_be_understood_names_its_file(tmp_path: Path) -> None:
    path = Series(hu=phantom((3, 24, 24))).write(tmp_path)[1]
    data = pydicom.dcmread(path)
    data.NumberOfFrames = 1
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(path, implicit_vr=False)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"\x28\x00\x08\x00IS", b"\x28\x00\x08\x00I!"))
    assert why_unreadable(tmp_path).startswith("/slice001.dcm: expected a DICOM file, found a damaged one")


def test_a_deflated_data_set_that_never_ends(tmp_path: Path) -> None:
    """100 KB that unpack to 100 MB are left before their end."""
    path = Series(hu=phantom((3, 24, 24))).write(tmp_path)[-1]
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.PixelData = bytes(100_000_000)
    data.save_as(path, enforce_file_format=True)
    assert "bytes after unpacking, found more" in why_unreadable(tmp_path)
