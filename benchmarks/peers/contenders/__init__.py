"""The contenders: a module each, which imports its library when it is imported."""

#: Name on the command line and in the report, and the module. Trunks have no maps and learn nothing.
MODULES = {
    "trunk": "trunk",
    "trunk split": "trunk_split",
    "skpadim": "own",
    "anomalib": "anomalib_padim",
    "anomavision": "anomavision_padim",
    "reference": "reference",
}
