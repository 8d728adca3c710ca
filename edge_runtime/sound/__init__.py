"""The sound of a clip: decoding, fingerprints, and the search for a recording heard before."""
