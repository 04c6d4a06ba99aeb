"""What every estimator stands on: state, devices, randomness, callbacks, checks of parameters."""
