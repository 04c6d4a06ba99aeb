"""The contenders of benchmarks/peers.py: a module each, which imports its library when it is imported."""

#: Name on the command line and in the report, and the module.
MODULES = {
    "trunk": "trunk",
    "skpadim": "own",
    "anomalib": "anomalib_padim",
    "anomavision": "anomavision_padim",
    "reference": "reference",
}
