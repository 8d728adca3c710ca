"""Mobile visual search: the survey's 1.2, 2 and the open issues of 3."""

from __future__ import annotations

from training.papers.registry.named import Named

_CLIPS = "judged on walks as clips: [clips](../CLIPS.md)"
_VOCABULARY = "it needs a visual vocabulary learned from millions of local features"

SEARCH = (
    Named("sending scaled-down or compressed images", "survey, 1.2.1", (9, 41), "transmission"),
    Named("cloud-based image coding", "survey, 1.2.1", (42,),
          missing="it rebuilds a photo from a large database of images on a server"),
    Named("image retargeting for local features", "survey, 1.2.1", (43,),
          missing="scaled-down JPEGs stand for this kind of transmission"),
    Named("MobiUp: streaming; low bitrate recognition", "survey, 1.2 and 1.2.1", (8, 50),
          missing="about networks for video, and a measure: bytes against accuracy, which the"
          " table of transmission uses"),
    Named("moderate features: SURF and bags of words", "survey, 1.2.2", (51, 52),
          "transmission"),
    Named("accelerated SURF", "survey, 1.2.2", (10,),
          missing="SURF is patented and not in OpenCV's packages; SIFT stands for it"),
    Named("progressive transmission of local features", "survey, 1.2.2", (11, 12),
          "transmission"),
    Named("compressed histogram of gradients", "survey, 1.2.3", (13,), "transmission"),
    Named("compressed bag of words by context", "survey, 1.2.3", (14,),
          missing=_VOCABULARY),
    Named("compact global signatures; detectors and compact descriptors", "survey, 1.2.3",
          (44, 45), missing=f"{_VOCABULARY}; compressed local features stand for it"),
    Named("hash bits, sent and searched", "survey, 1.2.4", (16, 17), "transmission"),
    Named("codebook-free cascaded hashing; topic hypergraph hashing; de-hashing", "survey, 1.2.4",
          (46, 47, 48), missing="figures are given for none of them, and the two latter need text"
          " beside the photos or a vocabulary on the server"),
    Named("instant video search: frames one after another, progressive", "survey, 1.2.4 and 3.4",
          (7, 49), "clips"),
    Named("location recognition on the photos of 162 places", "survey, 2", (76, 78),
          missing="the 8,062 photos are not public; ie_tower, the inside of a building, stands"
          " for them"),
    Named("robustness: light, blur, occlusion, rotation, affine changes", "survey, 3.1", (),
          elsewhere="training augments by all of them, and every model is judged under them:"
          " [accuracy](ACCURACY.md)"),
    Named("hashing without labels", "survey, 3.2", (), "unlabelled"),
    Named("faster and smaller networks", "survey, 3.3", (),
          elsewhere="int8 and compiled networks: [performance](PERFORMANCE.md)"),
    Named("several modalities: position, heading, sound, video", "survey, 3.4", (82, 83),
          "clips"),
)  # fmt: skip
