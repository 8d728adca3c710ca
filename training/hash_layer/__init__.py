"""The hash layer: features of a backbone, fitting the layer, codes and radius."""
