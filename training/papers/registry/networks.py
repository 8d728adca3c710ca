"""Networks and their optimization: the seed paper's Table 2, the survey's 1.3.1 and 1.4."""

from __future__ import annotations

from training.papers.registry.named import Named

NETWORKS = (
    Named("MobileNet-v1", "seed, Table 2", (),
          elsewhere="the backbone of every model: [accuracy](ACCURACY.md)"),
    Named("AlexNet", "seed, Table 2; survey, 1.3.1", (59, 61), "table3", ("DLBH", "SSDH")),
    Named("SqueezeNet, GoogleNet, VGG-16", "seed, Table 2", (),
          missing="the paper quotes their figures of ImageNet and does not hash with them; no"
          " weights of them are at hand"),
    Named("multi-column networks, R-CNN, OverFeat, Inception, action and event networks", "seed, 1",
          (), missing="cited as uses of deep networks in classification, detection and video; no"
          " hashing"),
    Named("DeCAF, DevNet and other uses of deep features", "survey, 1.3.1", (60, 62, 63, 64, 65,
          66), missing="not about hashing: features of events, tracking and fine categories"),
    Named("contrastive loss of Siamese networks", "survey, 1.3.3", (71,), "cifar10", ("DPSH",)),
    Named("linear structure within convolutions, low rank expansions", "survey, 1.4.1", (30, 31),
          "low_rank_pruned", ("MobileNet-v1, low rank", "AlexNet-shaped, low rank")),
    Named("CP-decomposition", "survey, 1.4.1", (32,),
          missing="of 1 x 1 convolutions and fully connected layers, the ones that are made smaller"
          " here, it is the same as the singular values of the low-rank rows"),
    Named("nonlinear asymmetric reconstruction", "survey, 1.4.1", (33,),
          missing="low-rank rows rebuild each layer's results on photos, as it does; its steps for"
          " the ReLU and for errors of earlier layers are left out"),
    Named("relative similarity learning", "survey, 1.4.1", (74,),
          missing="about training a hash on a cluster; it makes no network faster or smaller"),
    Named("the hashing trick (HashedNets)", "survey, 1.4.2", (34,),
          missing="its weights are shared from the first step of a training; the networks here are"
          " made smaller after theirs"),
    Named("vector quantization of weights", "survey, 1.4.2", (35,), "quantized_cnn"),
    Named("deep compression: pruning", "survey, 1.4.2", (36,), "low_rank_pruned",
          ("MobileNet-v1, 50% of the weights pruned", "AlexNet-shaped, 50% of the weights pruned")),
    Named("deep compression: trained quantization, Huffman coding", "survey, 1.4.2", (36,),
          missing="codewords of weights run as the Quantized CNN; Huffman coding shrinks the stored"
          " file only"),
    Named("data-free removal of similar neurons", "survey, 1.4.2", (37,), "low_rank_pruned",
          ("AlexNet-shaped, 25% of the neurons", "AlexNet-shaped, 50% of the neurons")),
    Named("deep fried convnets (Adaptive Fastfood)", "survey, 1.4.2", (38,),
          missing="its transform is trained instead of fully connected layers; the networks here"
          " are made smaller after their training"),
    Named("Quantized CNN with error correction", "survey, 1.4.3 and 2", (39,), "quantized_cnn"),
    Named("YOLO on a mobile GPU", "survey, 1.4.3", (40, 75),
          missing="it is about detection and the memory of GPUs; the boards here have none that"
          " networks use"),
)  # fmt: skip
