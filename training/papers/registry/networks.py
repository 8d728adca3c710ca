"""Networks and their optimization: the seed paper's Table 2, the survey's 1.3.1 and 1.4."""

from __future__ import annotations

from training.papers.registry.named import Named

NETWORKS = (
    Named("MobileNet-v1", "seed, Table 2", (),
          elsewhere="the backbone of every model: [accuracy](ACCURACY.md)"),
    Named("AlexNet", "seed, Table 2; survey, 1.3.1", (59, 61), "table3", ("DLBH", "SSDH")),
    Named("SqueezeNet, GoogleNet, VGG-16", "seed, Table 2", (),
          missing="their ImageNet figures are quoted in the paper from another one; no weights"
          " were at hand"),
    Named("DeCAF, DevNet and other uses of deep features", "survey, 1.3.1", (60, 62, 63, 64, 65,
          66), missing="not about hashing: features of events, tracking and fine categories"),
    Named("contrastive loss of Siamese networks", "survey, 1.3.3", (71,), "cifar10", ("DPSH",)),
    Named("linear structure within convolutions, low rank expansions", "survey, 1.4.1", (30, 31),
          "low_rank_pruned"),
    Named("CP-decomposition", "survey, 1.4.1", (32,),
          missing="low rank runs by singular values, which need no iterations"),
    Named("nonlinear asymmetric reconstruction", "survey, 1.4.1", (33,),
          missing="the decomposition runs without it"),
    Named("relative similarity learning", "survey, 1.4.1", (74,),
          missing="about hashing on a cluster, cited beside the acceleration of networks"),
    Named("the hashing trick (HashedNets)", "survey, 1.4.2", (34,),
          missing="it shrinks fully connected layers, and this network has one of 64 outputs"),
    Named("vector quantization of weights", "survey, 1.4.2", (35,), "quantized_cnn"),
    Named("deep compression: pruning, trained quantization, Huffman coding", "survey, 1.4.2",
          (36,), "low_rank_pruned"),
    Named("data-free removal of similar neurons", "survey, 1.4.2", (37,),
          missing="pruning by size runs; this form was not rebuilt"),
    Named("deep fried convnets (Adaptive Fastfood)", "survey, 1.4.2", (38,),
          missing="it replaces fully connected layers, and this network has one of 64 outputs"),
    Named("Quantized CNN with error correction", "survey, 1.4.3 and 2", (39,), "quantized_cnn"),
    Named("YOLO on a mobile GPU", "survey, 1.4.3", (40, 75),
          missing="it is about detection and the memory of GPUs; the boards here have none that"
          " networks use"),
)  # fmt: skip
