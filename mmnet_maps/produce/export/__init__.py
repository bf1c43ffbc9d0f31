"""Finished days as files."""
