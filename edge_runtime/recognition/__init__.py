"""From matches to recognitions: pipeline, voting, smoothing over frames."""
