"""Records of stations: USCRN, ISMN, raw exports, in situ tables."""
