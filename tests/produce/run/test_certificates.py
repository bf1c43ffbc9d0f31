"""A scheduler that wants certificates, as that of Coiled does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import LocalCluster

from mmnet_maps.errors import InputError
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.run.predict import Request, predict_product
from tests.produce.conftest import FIRST


def test_the_cluster_itself_has_the_certificates_that_an_address_lacks(
    make_world: Any, tmp_path: Path
) -> None:
    world = make_world(height=16, width=16)
    cube, day = world.cube(tmp_path / "cube"), str(np.datetime64(FIRST, "D"))
    here = Request(world.bundle, cube, day, day, tmp_path / "here", tile=16, block_days=4)
    predict_product(here)
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=1, threads_per_worker=1, processes=False, security=True, dashboard_address=None
    ) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
        there = replace(here, out=tmp_path / "there", scheduler=cluster)
        with pytest.raises(InputError, match=r"--scheduler tls://.* wants certificates: name them in dask's"):
            predict_product(replace(there, scheduler=cluster.scheduler_address))
        assert not (tmp_path / "there").exists()
        assert predict_product(there)["units"]["new"] == 1
    names = open_product(here.out).layers
    for name in names:
        both = (open_product(out).read(name, FIRST, FIRST + 1) for out in (here.out, there.out))
        np.testing.assert_array_equal(*both)
