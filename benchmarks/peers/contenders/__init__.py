"""The contenders: a module each, which imports its library when it is imported."""

#: Name on the command line and in the report, and the module. Trunks have no maps and learn nothing.
#: "default" is skpadim's default network, trained; all others have the network asked for.
MODULES = {
    "trunk": "trunk",
    "trunk split": "trunk_split",
    "trunk default": "trunk_default",
    "skpadim": "own",
    "skpadim default": "own_default",
    "skpadim onnxruntime default": "own_onnxruntime",
    "skpadim before": "own",
    "anomalib": "anomalib_padim",
    "anomavision": "anomavision_padim",
    "reference": "reference",
}
#: Who has an environment of its own, and the library that must come from there.
ISOLATED = {"skpadim before": "skpadim", "anomalib": "anomalib", "anomavision": "anomavision"}
