"""Pure functions on torch tensors: no scikit-learn, no files, nothing of the package above."""
