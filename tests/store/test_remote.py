"""An object store answers as a path does: on a server of ours, on moto, and in memory."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.store import remote
from mmnet_maps.store.arrays import create_group, fast_decoding, open_group
from mmnet_maps.store.location import Remote, location, open_to_read
from mmnet_maps.store.whole import (
    appearing,
    appearing_folder,
    clear_draft,
    is_draft,
    put_owned,
    remove_folder,
    version_of,
    write_whole,
)
from tests.store.s3 import Server


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("s3://bucket/a//b/", "s3://bucket/a/b"),
        (Path("s3://bucket/a/b"), "s3://bucket/a/b"),
        ("gs://bucket", "gs://bucket"),
        ("a/b", "a/b"),
        ("file:///a/b", "/a/b"),
        (Path("/s3:/a"), "/s3:/a"),
    ],
)
def test_an_address_is_read_as_it_is_meant(given: str | Path, expected: str) -> None:
    assert str(location(given)) == expected
    assert isinstance(location(given), Remote) == expected.startswith(("s3:", "gs:"))


@pytest.mark.parametrize("given", ["ftp://host/a", "s3://", "s3:///a"])
def test_an_address_of_another_kind_is_refused(given: str) -> None:
    with pytest.raises(InputError, match=r"begins with s3, gs, az|names no bucket"):
        location(given)


@pytest.fixture(params=["ours", "moto", "memory"])
def folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    if request.param == "ours":
        request.getfixturevalue("s3")
        yield Remote("s3://bucket", "some/folder")
        return
    if request.param == "memory":
        yield Remote("memory://store", request.node.name)
        return
    moto = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    remote.store_at.cache_clear()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(
        Bucket="bucket"
    )
    # What one server of moto held the next one holds.
    yield Remote("s3://bucket", f"some/{request.node.name}")
    server.stop()
    remote.store_at.cache_clear()


def test_an_object_store_answers_what_a_path_answers(folder: Remote, tmp_path: Path) -> None:
    def answers(place: Path | Remote) -> list[object]:
        said: list[object] = [place.exists(), (place / "a.txt").is_file()]
        with pytest.raises(FileNotFoundError):
            (place / "a.txt").read_bytes()
        (place / "b").mkdir(parents=True)
        for name in ("a.txt", "b/c.json", "b/d"):
            write_whole(place / name, name)
        said += [place.exists(), place.is_dir(), place.is_file(), (place / "b").is_dir()]
        said += [sorted(one.name for one in place.iterdir())]
        said += [[one.name for one in sorted(place.glob("*.txt"))], [p.name for p in place.glob("b/*.json")]]
        said += [(place / "b" / "c.json").read_text(), (place / "a.txt").stat().st_size]
        said += [str((place / "b" / "d").relative_to(place)), (place / "a.txt").with_name("z").name]
        said += [(place / "a.txt").suffix, (place / "a.txt").stem, (place / "b" / "d").parent == place / "b"]
        (place / "a.txt").unlink()
        (place / "a.txt").unlink(missing_ok=True)
        remove_folder(place / "b")
        said += [(place / "a.txt").exists(), (place / "b" / "d").exists()]
        return said

    assert answers(folder) == answers(tmp_path / "folder")
    assert pickle.loads(pickle.dumps(folder)) == folder


def test_an_object_is_put_only_where_nobody_came_first(folder: Remote) -> None:
    first = (folder / "x").write_bytes_if(b"1", None)
    assert first is not None and (folder / "x").write_bytes_if(b"2", None) is None
    second = (folder / "x").write_bytes_if(b"3", first)
    assert second is not None and (folder / "x").write_bytes_if(b"4", first) is None
    assert (folder / "x").read_bytes() == b"3"
    # The answer to the first of two equal requests may have been lost.
    assert (folder / "x").write_bytes_if(b"3", first) is not None


def test_a_writer_that_wakes_up_late_changes_nothing(folder: Remote) -> None:
    looked: list[int] = []

    def check() -> None:
        looked.append(1)
        if len(looked) == 2:
            raise WorkError("the lock is lost")
        (folder / "x").write_bytes(b"of the other run")

    with pytest.raises(WorkError, match="the lock is lost"):
        put_owned(folder / "x", b"of the old one", check)
    assert (folder / "x").read_bytes() == b"of the other run" and len(looked) == 2


def test_a_file_and_a_folder_appear_whole(folder: Remote) -> None:
    with pytest.raises(KeyboardInterrupt), appearing(folder / "a.csv") as draft:
        draft.write_text("half")
        raise KeyboardInterrupt
    assert not folder.exists()
    with appearing(folder / "a.csv") as draft:
        draft.write_text("all")
        assert draft.suffix == ".csv"
    assert (folder / "a.csv").read_text() == "all"
    with appearing_folder(folder / "z") as inner:
        group = create_group(inner, {"a": 1})
        group.create_array("v", data=np.arange(6))
        assert not (folder / "z").exists()
    assert open_group(folder / "z").attrs["a"] == 1
    names = [str(file.relative_to(folder / "z")) for file in (folder / "z").files()]
    assert names == ["v/c/0", "v/zarr.json", "zarr.json"]
    before = version_of(folder)
    write_whole(folder / "b.csv", "1")
    assert version_of(folder) != before


def test_a_folder_that_a_killed_writer_began_is_cleared(folder: Remote) -> None:
    for name in (".draft", "v/c/0", "zarr.json"):
        write_whole(folder / name, "")
    assert is_draft(folder)
    clear_draft(folder)
    assert not folder.exists()
    write_whole(folder / "zarr.json", "")
    clear_draft(folder)
    assert folder.exists()


def test_zarr_reads_and_writes_there(folder: Remote) -> None:
    values = np.random.default_rng(1).integers(0, 9, (4, 32, 32)).astype(np.int16)
    group = create_group(folder / "g", {})
    array = group.create_array("v", shape=values.shape, shards=(2, 32, 32), chunks=(1, 16, 16), dtype="i2")
    array[...] = values
    with fast_decoding():
        found = open_group(folder / "g")["v"]
    np.testing.assert_array_equal(np.asarray(found[1:3, 4:20, 5:]), values[1:3, 4:20, 5:])  # type: ignore[index]
    assert [name for name, _ in open_group(folder / "g").arrays()] == ["v"]


def test_a_geotiff_is_read_in_ranges(s3: Server, tmp_path: Path) -> None:
    values = np.arange(512 * 512, dtype=np.int16).reshape(512, 512)
    how = {"driver": "GTiff", "width": 512, "height": 512, "count": 1, "dtype": "int16", "tiled": True}
    with rasterio.open(tmp_path / "a.tif", "w", **how) as file:
        file.write(values, 1)
    (there := Remote("s3://bucket", "a.tif")).write_bytes(tmp_path / "a.tif")
    with rasterio.open(str(there), opener=open_to_read) as file:
        np.testing.assert_array_equal(file.read(1), values)
    with there.open() as file, (tmp_path / "a.tif").open("rb") as other:
        for place, whence in ((100, os.SEEK_SET), (-7, os.SEEK_END), (0, os.SEEK_END)):
            assert file.seek(place, whence) == other.seek(place, whence)
            assert file.read(50) == other.read(50)


def test_requests_that_fail_are_tried_again(s3: Server) -> None:
    s3.faults = 0.3
    place = Remote("s3://bucket", "f")
    for number in range(60):
        (place / str(number)).write_bytes(bytes([number]) * 1000)
    assert [(place / str(number)).read_bytes() for number in range(60)] == [
        bytes([n]) * 1000 for n in range(60)
    ]
    assert len(place.files()) == 60 and s3.failed > 20


def test_a_store_out_of_reach_and_one_that_denies_are_one_line(
    s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_PAUSES_S", ())
    monkeypatch.setattr(remote, "_RETRIES", 0)
    s3.denies = True
    with pytest.raises(InputError, match=r"s3://bucket/a: the store denies access with the credentials of"):
        Remote("s3://bucket", "a").read_bytes()
    s3.stop()
    remote.store_at.cache_clear()
    with pytest.raises(WorkError, match=r"s3://bucket/a: the store cannot be reached, or fails: ") as told:
        Remote("s3://bucket", "a").read_bytes()
    assert "\n" not in str(told.value) and len(str(told.value)) < 500


def test_plain_http_leaves_this_machine_only_where_that_is_allowed(
    s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:9000")
    remote.store_at.cache_clear()
    with pytest.raises(InputError, match=r"http://192.0.2.1:9000: plain http is for this machine alone; AWS"):
        Remote("s3://bucket", "a").read_bytes()
    monkeypatch.setattr(remote, "_LOOPBACK", ())
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.environment["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    Remote("s3://bucket", "a").write_bytes(b"1")
    assert s3.keys("bucket/") == ["bucket/a"]


def test_an_upload_that_the_store_has_lost_is_begun_anew(s3: Server) -> None:
    class Forgetful(dict[str, dict[int, bytes]]):
        asked = 0

        def __contains__(self, upload: object) -> bool:
            self.asked += 1
            return self.asked != 2 and super().__contains__(upload)

    s3.objects.parts, data = Forgetful(), bytes(range(256)) * 50_000
    Remote("s3://bucket", "large").write_bytes(data)
    assert s3.content("bucket/") == {"large": data} and s3.objects.parts.asked > 3


def test_an_http_server_is_read_and_not_written(s3: Server) -> None:
    Remote("s3://bucket", "a").write_bytes(b"1")
    there = Remote(f"http://127.0.0.1:{s3.port}", "bucket/a")
    assert there.read_bytes() == b"1" and there.is_file()
    with pytest.raises(InputError, match="http is for reading"):
        list(there.parent.iterdir())


def test_without_the_extra_one_line_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    remote.store_at.cache_clear()
    for name in ("obstore", "obstore.store", "obstore.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"needs the extra 'cloud': pip install 'mmnet-maps\[cloud\]'"):
        Remote("s3://bucket", "a").is_file()


def test_many_threads_at_once(s3: Server) -> None:
    place, errors = Remote("s3://bucket", "t"), list[BaseException]()

    def work(number: int) -> None:
        try:
            (place / str(number)).write_bytes(b"x")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(place.files()) == 40
