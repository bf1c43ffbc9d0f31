"""How far bfloat16 maps are from float32 maps: ``bench_bfloat16.py BUNDLE TABLE`` prints JSON.

The rows of a station table go through both engines as a map's pixels do, so the difference is that of a
trained network on real inputs. `mmnet-maps bench` prints the same figures for an untrained network.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mmnet_maps.learn.bundle import Bundle, load_bundle
from mmnet_maps.learn.model_input import ModelInput, from_table
from mmnet_maps.prepare.stations.files import read_table
from mmnet_maps.produce.engine.engine import Engine


def _estimates(engine: Engine, bundle: Bundle, inputs: ModelInput) -> NDArray[np.float32]:
    catalogue, block = bundle.catalogue, engine.block
    columns = [catalogue.snapshot.index(name) for name in engine.features]
    workspace, found = engine.workspace(), []
    for start in range(0, len(inputs), block):
        part = inputs.rows(np.arange(start, start + block) % len(inputs))
        engine.scale(np.ascontiguousarray(part.snapshot.T[columns]), 0, workspace.inputs)
        # Every row is a place of its own whose calendar is its window.
        calendar = np.zeros((catalogue.window_days + 1, block, len(catalogue.series)), dtype=np.float32)
        for step, lag in enumerate(catalogue.lags):
            calendar[catalogue.window_days - lag] = part.series[:, :, step]
        workspace.series[:] = np.arange(block)
        found.append(engine.predict(workspace, engine.series_table(calendar, 1)[0]).copy())
    return np.concatenate(found)[: len(inputs)]


def main() -> None:
    torch.set_num_threads(1)
    bundle = load_bundle(Path(sys.argv[1]))
    inputs = from_table(read_table(Path(sys.argv[2]))[0], bundle.catalogue)
    inputs = inputs.rows(inputs.complete)
    exact, half = (_estimates(Engine(bundle, p), bundle, inputs) for p in ("float32", "bfloat16"))
    plain = bundle.predict(inputs)
    error = np.abs(half - exact)
    figures = {
        "rows": len(inputs),
        "spread_of_estimates": float(exact.std()),
        "float32_largest_difference_from_plain": float(np.abs(exact - plain).max()),
        "bfloat16_rms": float(np.sqrt(np.mean(error**2))),
        "bfloat16_p999": float(np.quantile(error, 0.999)),
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
