"""CSV files that are none are refused by their first line, before they take memory."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mmnet_maps.errors import InputError
from mmnet_maps.store.csv_file import read_csv


def test_a_table_is_read_as_pandas_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\ufeffID,b\n01,2\n", encoding="utf-8")
    pd.testing.assert_frame_equal(read_csv(path, dtype={"ID": str}), pd.DataFrame({"ID": ["01"], "b": [2]}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a" * (1 << 21), "its first line does not end within 1,048,576 bytes"),
        (b"a," * 30_000 + b"\n1\n", "has 30,001 columns, expected at most 20,000"),
        ("ID,b\n1,2\n".encode("utf-16"), r"is not in UTF-8 \(in UTF-16\?\)"),
        (b"a" * 200_000 + b",b\n1,2\n", "not a readable CSV: field larger than field limit"),
        (b"ID,b\n\xff\xfe,2\n", "not a readable CSV"),
        (b'ID,b\n"1,2\n3,4\n', "not a readable CSV"),
        (b"", "not a readable CSV"),
        (b"id,lon,lat\n1,-98,36,0.2\n", "its rows have more cells than there are names of columns"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=said):
        read_csv(path, dtype=str)
