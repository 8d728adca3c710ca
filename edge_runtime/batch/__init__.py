"""Hash photos by the million: `edge-runtime hash`.

`tree` finds the photos, `journal` keeps what is known of each of them on disk, `pool` hashes them
in processes of this machine and `cluster` on the machines of a Dask cluster, `output` writes the
codes, and `run` combines them. The journal is what a kill of any process leaves: the output is
written from it as a whole, so it does not depend on what happened before.
"""
