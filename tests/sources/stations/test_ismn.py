from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.errors import InputError
from mmnet_maps.sources.stations.in_situ import read_in_situ
from mmnet_maps.sources.stations.ismn import read_ismn, refuse_unsafe_zip

SEPARATE = "Data_seperate_files_20170810_20180809.zip"
HEADER = "Data_seperate_files_header_20170810_20180809.zip"
OLD = "Data_header_values.zip"


def plain_days(archive: Path, ending: str, flags: set[str], min_hours: int) -> pd.Series:
    """Daily means of one file of an archive, read line by line."""
    with zipfile.ZipFile(archive) as content:
        [name] = [n for n in content.namelist() if n.endswith(ending)]
        lines = content.read(name).decode().splitlines()
    hours: dict[int, dict[str, float]] = {}
    for line in lines:
        parts = line.split()
        if len(parts) > 13:  # CEOP: two times, then names and places, then value and flags
            parts = [parts[0], parts[1], *parts[12:]]
        if len(parts) < 4 or not parts[0][:4].isdigit() or parts[3] not in flags:
            continue
        if 0 <= float(parts[2]) <= 1:
            hours.setdefault(int(parts[0].replace("/", "")), {})[parts[1]] = float(parts[2])
    whole = {d: np.mean(list(h.values())) for d, h in hours.items() if len({t[:2] for t in h}) >= min_hours}
    return pd.Series(whole).sort_index()


@pytest.fixture(scope="module")
def place(shared: Path) -> Path:
    return shared / "data" / "ismn"


@pytest.mark.parametrize(
    ("name", "ending", "station", "flags", "depth"),
    [
        (SEPARATE, "COSMOS_COSMOS_ARM-1_sm_0.000000_0.190000_Cosmic-ray-Probe_20170810_20180809.stm",
         "COSMOS_ARM-1", {"G"}, (0.0, 0.3)),
        (SEPARATE, "ThetaProbe-ML2X_19500101_20210131.stm", "FR_Aqui_fraye", {"G"}, (0.0, 0.06)),
        (HEADER, "COSMOS_COSMOS_Barrow-ARM_sm_0.000000_0.210000_Cosmic-ray-Probe_20170810_20180809.stm",
         "COSMOS_Barrow-ARM", {"G"}, (0.0, 0.21)),
        (OLD, "AdamsRanch#1_sm_0.050800_0.050800_Hydraprobe-Analog-(2.5-Volt)_20070101_20131231.stm",
         "SCAN_AdamsRanch#1", {"U"}, (0.0, 0.06)),
    ],
)  # fmt: skip
def test_daily_means_agree_with_the_lines_of_the_file(
    place: Path, name: str, ending: str, station: str, flags: set[str], depth: tuple[float, float]
) -> None:
    frame, _ = read_ismn(place / name, depth, 9, flags=sorted(flags))
    mine = frame[frame["ID"] == station].set_index("Date")["VWC_5"]
    expected = plain_days(place / name, ending, flags, 9)
    assert len(expected) > 200
    assert list(mine.index) == list(expected.index)
    np.testing.assert_allclose(mine, expected, rtol=1e-12)


def test_only_sensors_within_the_depth_window_are_used_and_the_others_counted(place: Path) -> None:
    frame, report = read_ismn(place / SEPARATE)
    assert set(frame["ID"]) == {"FR_Aqui_fraye"} and set(frame["Network"]) == {"FR_Aqui"}
    assert (report.sensors, report.other_sensors, report.unreadable) == (1, 2, {})
    assert report.hours == sum(report.flags.values()) == 52_045
    assert report.not_good == report.hours - report.flags["G"] > 0
    assert report.days == len(frame) and report.short_days > 0
    with pytest.raises(InputError, match=r"no soil moisture sensor between 0 and 0.01 m among 3"):
        read_ismn(place / SEPARATE, (0.0, 0.01))


def test_the_column_is_named_after_the_depth_of_the_sensors(place: Path, tmp_path: Path) -> None:
    ending, folder = "_sm_0.050000_0.050000_ECH20-EC-TM_20070101_20131231.stm", tmp_path / "MAQU" / "CST-01"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(place / OLD) as content:
        [name] = [n for n in content.namelist() if n.endswith(f"CST-01{ending}")]
        text = content.read(name).decode()
        (folder / Path(name).name).write_text(text)
        for depth in (0.1, 0.5):  # the same sensor again, deeper
            deeper = Path(name).name.replace("0.050000", f"{depth:.6f}")
            (folder / deeper).write_text(text.replace("0.05    0.05", f"{depth:.2f}    {depth:.2f}", 1))
    surface, _ = read_ismn(tmp_path, flags=("U",))
    for target, window in (("VWC_10", (0.08, 0.12)), ("VWC_50", (0.4, 0.6))):
        deep, report = read_ismn(tmp_path, flags=("U",), target=target)
        same, _ = read_ismn(tmp_path, window, flags=("U",), target=target)
        assert report.sensors == 1 and len(deep) > 100
        pd.testing.assert_frame_equal(deep, same)
        pd.testing.assert_frame_equal(deep.rename(columns={target: "VWC_5"}), surface)
    with pytest.raises(
        InputError, match=r"--depth 0.4 0.6 is not the depth of VWC_5, 0 to 0.05 m; that of VWC_50"
    ):
        read_ismn(place / OLD, (0.4, 0.6))


def test_a_folder_gives_the_same_as_its_zip_and_stays_as_it_was(place: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(place / HEADER) as content:
        content.extractall(tmp_path / "archive")
    before = sorted(tmp_path.rglob("*"))
    from_folder, _ = read_ismn(tmp_path / "archive", (0.0, 0.3))
    from_zip, _ = read_ismn(place / HEADER, (0.0, 0.3))
    pd.testing.assert_frame_equal(from_folder, from_zip)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", [SEPARATE, HEADER, OLD])
def test_a_folder_around_the_network_folders_does_not_matter(place: Path, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(place / name) as content:
        content.extractall(tmp_path / "a" / "b")
    from_zip, zipped = read_ismn(place / name, (0.0, 0.3), flags=("G", "U"))
    for start in (tmp_path, tmp_path / "a"):
        from_folder, found = read_ismn(start, (0.0, 0.3), flags=("G", "U"))
        pd.testing.assert_frame_equal(from_folder, from_zip)
        assert (found.hours, found.sensors, found.other_sensors) == (
            zipped.hours,
            zipped.sensors,
            zipped.other_sensors,
        )


def test_a_part_of_an_archive_and_several_archives_are_refused(place: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        with zipfile.ZipFile(place / HEADER) as content:
            content.extractall(tmp_path / name)
    with pytest.raises(InputError, match="holds 2 archives, one and two among them"):
        read_ismn(tmp_path, (0.0, 0.3))
    for part in ("one/COSMOS", "one/COSMOS/ARM-1"):
        with pytest.raises(
            InputError, match=r"is a part of an archive; expected the folder around it, .*one$"
        ):
            read_ismn(tmp_path / part, (0.0, 0.3))


def test_files_that_are_no_ismn_files_are_refused_in_one_line(tmp_path: Path) -> None:
    station = tmp_path / "NETWORK" / "STATION"
    station.mkdir(parents=True)
    (station / "notes.stm").write_text("nothing of the kind\n")
    with pytest.raises(InputError, match="ismn finds no sensor") as error:
        read_ismn(tmp_path)
    assert "\n" not in str(error.value)


def test_an_archive_without_a_good_value_says_which_flags_it_has(place: Path) -> None:
    with pytest.raises(InputError, match=r"211403 are not flagged G \(found U 176375, .*--flag"):
        read_ismn(place / OLD)


def test_several_sensors_of_a_station_are_averaged(place: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(place / HEADER) as content:
        content.extractall(tmp_path)
    [one] = tmp_path.rglob("*ARM-1_sm*Cosmic-ray-Probe*stm")
    single, _ = read_ismn(tmp_path, (0.0, 0.19))
    second = one.with_name(one.name.replace("Cosmic-ray-Probe", "Other-Probe"))
    lines = one.read_text().splitlines()
    lines[0] = lines[0].replace("Cosmic-ray-Probe", "Other-Probe")
    raised = [
        f"{line[:16]}   {float(line[16:].split()[0]) + 0.1:.4f} {' '.join(line[16:].split()[1:])}"
        for line in lines[1:]
        if line.strip()
    ]
    second.write_text("\n".join([lines[0], *raised]) + "\n")
    both, report = read_ismn(tmp_path, (0.0, 0.19))
    assert report.sensors == 2 and report.averaged_days == len(both) == len(single)
    np.testing.assert_allclose(both["VWC_5"], single["VWC_5"] + 0.05, atol=1e-6)


def test_days_without_a_value_can_be_kept_and_the_result_reads_as_ground_truth(
    place: Path, tmp_path: Path
) -> None:
    few, _ = read_ismn(place / SEPARATE)
    every, report = read_ismn(place / SEPARATE, all_days=True)
    assert len(every) > len(few) and report.days == len(few)
    days = pd.to_datetime(every["Date"].astype(str))
    assert (days.diff().dropna() == pd.Timedelta(1, "D")).all()
    every.to_csv(tmp_path / "t.csv", index=False)
    again = read_in_situ(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(again.dropna().reset_index(drop=True), few)


@pytest.mark.parametrize(
    "name", ["../outside.stm", "/etc/outside.stm", "a/../../b.stm", "..\\b.stm", "C:/b.stm"]
)
def test_a_zip_whose_members_leave_the_folder_is_refused_unread(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "inner" / "bad.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("N/S/N_N_S_sm_0.050000_0.050000_X_20170810_20180809.stm", "x")
        content.writestr(name, "x")
    with pytest.raises(InputError, match="leaves the folder"):
        read_ismn(archive)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["bad.zip", "inner"]


def test_a_symbolic_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("N/S/link.stm")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as content:
        content.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="leaves the folder"):
        refuse_unsafe_zip(tmp_path / "bad.zip")


def test_the_published_archives_are_safe(place: Path) -> None:
    for name in (SEPARATE, HEADER, OLD):
        refuse_unsafe_zip(place / name)


def test_a_damaged_file_is_left_out_and_named(place: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(place / HEADER) as content:
        content.extractall(tmp_path)
    [bad] = tmp_path.rglob("*Barrow-ARM_sm*stm")
    bad.write_text("")
    frame, report = read_ismn(tmp_path, (0.0, 0.3))
    assert set(frame["ID"]) == {"COSMOS_ARM-1"}
    assert [Path(name).name for name in report.unreadable] == [bad.name]


def test_places_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as content:
        content.writestr("readme.txt", "x")
    cases = {
        tmp_path / "none.zip": "found nothing",
        tmp_path / "a.txt": "found a file that is not a zip",
        tmp_path / "empty.zip": "no .stm file in the zip",
        tmp_path: "no .stm file in the folder",
    }
    for path, expected in cases.items():
        with pytest.raises(InputError, match=expected):
            read_ismn(path)
    with pytest.raises(InputError, match="expected 0 <= from <= to"):
        read_ismn(tmp_path, (0.1, 0.0))
