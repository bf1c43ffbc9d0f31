"""From nothing to daily maps of a simulated region, judged by its known truth.

python pipelines/simulated_region.py --config configs/simulated_region.yaml --out out/simulated
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmnet_maps.simulated.demo import DemoConfig, demo_text, run_demo


def main() -> None:
    parser = argparse.ArgumentParser(description="Daily maps of a simulated region, from nothing.")
    parser.add_argument("--config", type=Path, default=Path("configs/simulated_region.yaml"))
    parser.add_argument("--out", type=Path, default=Path("out/simulated"))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    print(demo_text(run_demo(DemoConfig.load(asked.config, asked.set), asked.out)))


if __name__ == "__main__":
    main()
