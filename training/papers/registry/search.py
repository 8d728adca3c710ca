"""Mobile visual search: the survey's 1.1, 1.2, 2 and the open issues of 3."""

from __future__ import annotations

from training.papers.registry.named import Named

_VOCABULARY = "it needs a visual vocabulary learned from millions of local features; not rebuilt"

SEARCH = (
    Named("uses of mobile search: meeting points, shopping, social networks, signs",
          "survey, 1.1", (1, 2, 3, 4, 5, 6),
          missing="examples of what a search is for; no way to describe a photo is compared"),
    Named("sending scaled-down or compressed images (Google Goggles)", "survey, 1.2.1", (9, 41),
          "transmission", ("scaled-down JPEG",)),
    Named("cloud-based image coding", "survey, 1.2.1", (42,),
          missing="it rebuilds a photo from similar ones among very many on a server, and is judged"
          " by how the rebuilt photo looks"),
    Named("image retargeting for local features", "survey, 1.2.1", (43,),
          missing="it shrinks a photo unevenly so that local features survive; here features are"
          " computed before anything is sent, and scaled-down JPEGs are the plain form"),
    Named("MobiUp: streaming; low bitrate recognition", "survey, 1.2 and 1.2.1", (8, 50),
          missing="about networks for video, and a measure: bytes against accuracy, which the"
          " table of transmission uses"),
    Named("moderate features: local features as they are (SURF; here SIFT)", "survey, 1.2.2",
          (51,), "transmission", ("raw SIFT",)),
    Named("bags of words", "survey, 1.2.2", (52,), missing=_VOCABULARY),
    Named("accelerated SURF", "survey, 1.2.2", (10,),
          missing="SURF is not in OpenCV's packages; SIFT stands for it, without tiles"),
    Named("progressive transmission of local features, the strongest first", "survey, 1.2.2",
          (11, 12), "transmission", ("raw SIFT", "SIFT of 4 levels")),
    Named("compressed histogram of gradients (here SIFT of few levels, entropy-coded)",
          "survey, 1.2.3", (13,), "transmission", ("SIFT of 4 levels",)),
    Named("compressed bag of words by context", "survey, 1.2.3", (14,), missing=_VOCABULARY),
    Named("compact global signatures; detectors and compact descriptors", "survey, 1.2.3",
          (44, 45), missing=f"{_VOCABULARY}; compressed local features stand for it"),
    Named("hash bits, sent and searched", "survey, 1.2.4", (16, 17), "transmission",
          ("hash bits", "bag of hash bits")),
    Named("sketches as queries", "survey, 1.2.4", (17,),
          missing="no sketches of the sets here are at hand"),
    Named("codebook-free cascaded hashing; topic hypergraph hashing; de-hashing", "survey, 1.2.4",
          (46, 47, 48), missing="the survey gives figures for none of them; the first compares"
          " binary signatures of local features, as VHB does, and the others need text beside the"
          " photos or a visual vocabulary on the server"),
    Named("instant video search: frames one after another, progressive", "survey, 1.2.4 and 3.4",
          (7, 49), "clips", ("clip, frames fused",)),
    Named("location recognition on the photos of 162 places", "survey, 2", (76, 78),
          missing="the 8,062 photos are not public; ie_tower, the inside of a building, stands"
          " for them"),
    Named("robustness: light, blur, occlusion, rotation, affine changes", "survey, 3.1", (),
          elsewhere="training augments by all of them, and every model is judged under them:"
          " [accuracy](ACCURACY.md)"),
    Named("hashing without labels", "survey, 3.2", (), "unlabelled"),
    Named("faster and smaller networks", "survey, 3.3", (),
          elsewhere="int8 and compiled networks: [performance](PERFORMANCE.md)"),
    Named("several modalities: sound, heading", "survey, 3.4", (82, 83), "clips",
          ("sound beside", "compass heading")),
    Named("several modalities: position", "survey, 3.4", (),
          elsewhere="galleries have [positions](../GALLERY.md)"),
    Named("several modalities: accelerometer, gyroscope", "survey, 3.4", (78,),
          missing="no set of photos at hand has their records"),
    Named("graph of spatial consistency for partial duplicates", "seed, 1", (),
          missing="cited as a use of deep networks, but it matches local features and checks their"
          " geometry, as VHB does"),
)  # fmt: skip
