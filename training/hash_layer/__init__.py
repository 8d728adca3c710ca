"""The hash layer: features of a backbone, fitting the layer, building the model."""
