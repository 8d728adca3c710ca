"""Recognition: the query pipeline, voting among neighbors, and smoothing over frames."""
