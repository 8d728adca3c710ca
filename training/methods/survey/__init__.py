"""The supervised methods of the survey's Tables 1 and 2 and two of their successors, one file each.

Every loss is the published one on the pairs or triplets of a batch. Where a source sums over pairs,
the mean is taken here, with the same proportions between the terms.

Each file says with what its formulas and constants were compared. Those of DSRH, DSCH, DRSCH,
SH-BDNN, DPSH, DHN, HashNet and GreedyHash were compared with their authors' code; CNNH and DNNH
with a third party's code only. The papers' full texts were not at hand: where a paper differs from
the code, this is unchecked.
"""
