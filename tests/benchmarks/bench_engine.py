"""Print the engine's rates as JSON: ``bench_engine.py [mmnet|mlp|transformer] [rounds]``."""

from __future__ import annotations

import json
import sys

from mmnet_maps.bench.engine import measure_engine
from mmnet_maps.bench.made_up import made_up_bundle
from mmnet_maps.catalogue import published_catalogue


def main() -> None:
    kind = sys.argv[1] if len(sys.argv) > 1 else "mmnet"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    rates = measure_engine(made_up_bundle(kind, published_catalogue()), rounds=rounds)
    print(json.dumps(rates.to_json(), indent=1))


if __name__ == "__main__":
    main()
