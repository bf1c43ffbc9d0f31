"""``python -m mmnet_maps.cli`` is ``mmnet-maps``."""

from mmnet_maps.cli import main

main()
