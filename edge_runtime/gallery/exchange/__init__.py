"""Export and import a gallery as JSON lines, as numpy's npz, or as a binary index of faiss.

JSON lines: the first line names the model, then one line per label that has a payload or a
thumbnail, then one line per code (a picture has one code per view):

    {"edge_runtime_gallery": 2, "model_id": "...", "bits": 64}
    {"note": "kitchen", "payload": "{\\"floor\\": 3}", "thumbnail": "...base64..."}
    {"label": "kitchen", "code": "91d5...", "source": "a.jpg", "digest": null,
     "position": [52.01, 4.36, null]}

`code` is the packed code's bytes in hexadecimal (bit i is bit i % 8 of byte i // 8), the same order
as in `np.packbits(bits, bitorder="little")` and in faiss. A position is latitude, longitude and
heading in degrees. The npz holds the arrays codes (uint64 [n, W]), ids, labels, sources, digests
(hexadecimal, or empty), positions (float64 [n, 3], NaN where unknown), noted, payloads, thumbnails
(base64), model_id and bits. A faiss file has neither labels nor label data nor the model: the
labels are in NAME.labels, one line per code, and the model cannot be checked.
"""
