"""Files behind HTTP: listed by a STAC search or a template, read by ranges, downloaded whole."""
