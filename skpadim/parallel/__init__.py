"""The room that shares photos out: fits and scores over joblib's active backend, here or on other machines.

joblib knows processes, threads, Dask and Ray; which one is at work, its context says. Here stands what joblib
leaves open: what all tasks need reaches each worker once, and what a dead worker took with it is done again.
"""
