"""Fit a code to the features of a gallery, in closed form and with numpy alone.

`layer` is the result: bits from features. `fit` computes it. `prior` holds what is known about
features before a gallery has any, `calibration` decides from similarities what is known.
"""
