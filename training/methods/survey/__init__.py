"""The supervised methods of the survey's Tables 1 and 2 and two of their successors, one file each.

Every loss is the published one on the pairs or triplets of a batch. Where a source sums over pairs,
the mean is taken here, with the same proportions between the terms.

The papers' full texts were not at hand. The loss of GreedyHash was compared with its authors' code;
the other formulas and the numbers of equations still have to be compared with the papers.
"""
