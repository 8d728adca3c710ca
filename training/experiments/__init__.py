"""Studies: methods compared, code lengths, ablations."""
