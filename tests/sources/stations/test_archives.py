"""USCRN and SCAN over HTTP, against stand-ins on loopback."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mmnet_maps.cli.main import app
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.jobs.stations import fetch_records
from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network

FAST = {"http.first_wait_s": 0.01, "http.longest_wait_s": 0.02, "http.requests_per_second": 5000}
PLACES = {
    "AZ_Tucson_11_W": (-111.17, 32.24),
    "OK_Stillwater_2_W": (-97.09, 36.12),
    "OK_Goodwell_2_E": (-101.60, 36.60),
}
SCAN = [
    {"stationTriplet": "2022:OK:SCAN", "name": "Fort Reno #1", "latitude": 35.55, "longitude": -98.02},
    {"stationTriplet": "2026:AZ:SCAN", "name": "Walnut Gulch #1", "latitude": 31.73, "longitude": -110.05},
    {"stationTriplet": "1:OK:SNTL", "name": "not of the network", "latitude": 35.6, "longitude": -98.0},
]
OKLAHOMA = "-103,33.6,-94.4,37"


def daily01(name: str, year: int) -> str:
    lon, lat = PLACES[name]
    lines = []
    for day in pd.date_range(f"{year}-06-01", f"{year}-06-05"):
        moisture = "-99.000" if day.day == 3 else f"{0.2 + day.day / 100:.3f}"
        lines.append(
            f"53131 {day:%Y%m%d}  2.422 {lon:8.2f} {lat:7.2f}  30.0  15.0  22.0  22.0  0.0  25.00"
            f" C    45.0    12.0    26.0    60.0    20.0    40.0   {moisture} -99.000 -99.000 -99.000 -99.000"
            "    25.0    25.0    25.0    25.0    25.0"
        )
    return "\n".join(lines) + "\n"


def scan_report(station: str, first: str, last: str) -> str:
    rows = [
        f"{d:%Y-%m-%d},{v},31.0"
        for d, v in zip(pd.date_range(first, periods=4), ("21.5", "", "130.0", "22.0"), strict=True)
    ]
    head = "#------ WARNING\n# Data are provisional\n#\n"
    names = ",".join(["Date", *(f"Soil Moisture Percent -{n}in (pct) Start of Day Values" for n in (2, 20))])
    return head + names + "\n" + "\n".join(rows) + "\n"


class Service:
    """Both services, and what they were asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.broken: set[str] = set()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path = urllib.parse.unquote(self.path)
                service.asked[f"{self.command} {path}"] += 1
                status, text = service.answer(path)
                data = text.encode()
                said = self.headers.get("Range")
                if said and status == 200:
                    first, last = (int(v) for v in said.removeprefix("bytes=").split("-"))
                    total, data, status = len(data), data[first : last + 1], 206
                self.send_response(status)
                if status == 206:
                    self.send_header("Content-Range", f"bytes {first}-{first + len(data) - 1}/{total}")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> tuple[int, str]:
        if any(text in path for text in self.broken):
            return 503, "later"
        parts = path.strip("/").split("/")
        if parts[0] == "uscrn" and len(parts) == 2 and parts[1] in ("2019", "2020"):
            names = [f"CRND0103-{parts[1]}-{name}.txt" for name in PLACES]
            return 200, "".join(f'<a href="{name}">{name}</a> 2020-01-01\n' for name in names)
        if parts[0] == "uscrn" and len(parts) == 3:
            year, name = parts[2][9:13], parts[2][14:-4]
            return 200, daily01(name, int(year))
        if parts[0] == "stations":
            return 200, json.dumps(SCAN)
        if parts[0] == "scan":
            return 200, scan_report(*parts[1:4])
        return 404, "none"

    def settings(self) -> dict[str, Any]:
        return {
            **FAST,
            "uscrn_url": f"{self.url}/uscrn/",
            "scan_url": f"{self.url}/scan/{{station}}/{{first}}/{{last}}",
            "scan_stations_url": f"{self.url}/stations",
        }


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    yield found
    found.close()


def test_uscrn_files_of_a_region_become_records_and_a_network(service: Service, tmp_path: Path) -> None:
    found = fetch_records("uscrn", (2019, 2020), OKLAHOMA, tmp_path / "u", settings=service.settings())
    assert (found["stations"], found["files"], found["fetched"]) == (2, 4, 4)
    truth, network = read_in_situ(tmp_path / "u/in_situ.csv"), read_network(tmp_path / "u/network.csv")
    assert set(truth["ID"]) == {"USCRN_Stillwater_2_W", "USCRN_Goodwell_2_E"} == set(network["ID"])
    assert len(truth) == 20 and truth["VWC_5"].isna().sum() == 4
    day = truth[(truth["ID"] == "USCRN_Stillwater_2_W") & (truth["Date"] == 20200602)]
    assert day["VWC_5"].item() == pytest.approx(0.22)
    # Nothing of Tucson but its first line was asked for, and nothing again the second time.
    assert service.asked["GET /uscrn/2020/CRND0103-2020-AZ_Tucson_11_W.txt"] == 1
    before = sum(n for key, n in service.asked.items() if key.startswith("GET") and "Goodwell" in key)
    again = fetch_records("uscrn", (2019, 2020), OKLAHOMA, tmp_path / "u", settings=service.settings())
    assert again["fetched"] == 0
    after = sum(n for key, n in service.asked.items() if key.startswith("GET") and "Goodwell" in key)
    assert after == before + 1  # the line that says where it is


def test_scan_reports_are_volumetric_percent(service: Service, tmp_path: Path) -> None:
    service.broken = {"2020-01-01"}
    with pytest.raises(WorkError, match="SCAN report of 2022:OK:SCAN for 2020: no answer"):
        fetch_records("scan", (2019, 2020), OKLAHOMA, tmp_path / "s", settings=service.settings())
    assert not (tmp_path / "s/in_situ.csv").exists()
    service.broken = set()
    found = fetch_records("scan", (2019, 2020), OKLAHOMA, tmp_path / "s", settings=service.settings())
    # What was there before the service stopped is not asked for again.
    assert (found["stations"], found["files"], found["fetched"], found["implausible"]) == (1, 2, 1, 2)
    truth, network = read_in_situ(tmp_path / "s/in_situ.csv"), read_network(tmp_path / "s/network.csv")
    values = truth.loc[truth["Date"].between(20200101, 20200104), "VWC_5"]
    np.testing.assert_allclose(values, [0.215, np.nan, np.nan, 0.22])
    deep = read_in_situ(tmp_path / "s/in_situ.csv", "VWC_50")
    np.testing.assert_allclose(deep.loc[deep["Date"].between(20200101, 20200104), "VWC_50"], 0.31)
    assert read_in_situ(tmp_path / "s/in_situ.csv", "VWC_100")["VWC_100"].isna().all()
    assert network.to_dict("records")[0]["Domain"] == "M" and set(truth["ID"]) == {"SCAN_2022"}


def test_the_command_and_what_it_refuses(service: Service, tmp_path: Path) -> None:
    words = [f"--set={key}={value}" for key, value in service.settings().items()]
    where = ["--years", "2019", "2019", f"--region={OKLAHOMA}", "--out", str(tmp_path / "c")]
    done = CliRunner().invoke(app, ["stations", "fetch", "uscrn", *where, *words, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rows"] == 10
    with pytest.raises(InputError, match="none of the 3 USCRN stations"):
        fetch_records("uscrn", (2019, 2019), "0,0,1,1", tmp_path / "n", settings=service.settings())
    with pytest.raises(InputError, match="USCRN files of 2018: nothing is there"):
        fetch_records("uscrn", (2018, 2019), OKLAHOMA, tmp_path / "n", settings=service.settings())
    with pytest.raises(InputError, match="expected the first year, then the last"):
        fetch_records("scan", (2020, 2019), OKLAHOMA, tmp_path / "n", settings=service.settings())
