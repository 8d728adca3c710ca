"""Move a gallery to another model, by means of the pictures that it keeps."""
