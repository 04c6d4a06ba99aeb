"""From a name, or a module, to a frozen network that gives the outputs of some layers."""
