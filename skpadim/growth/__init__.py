"""Detectors that grow: what they carry, how parts are merged, and how photos are taken out again."""
