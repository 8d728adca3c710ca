"""Hashing methods and search: the seed paper's Table 3, the survey's 1.3, its Tables 1 to 3."""

from __future__ import annotations

from training.papers.registry.named import Named

_NO_TABLES = "named in the text only; "

HASHING = (
    Named("this paper's network: MobileNet with a hash layer", "seed, Tables 1 and 3",
          table="table3", rows=("Our method",)),
    Named("VHB: bag of hash bits, boundary reranking", "seed, Table 3; survey, 1.2.4 and Table 3",
          (15, 81), "handmade", ("VHB",)),
    Named("SSFS: space-saliency fingerprint selection", "seed, Table 3; survey, Table 3",
          (77, 78), "handmade", ("SSFS",)),
    Named("DLBH", "seed, Table 3; survey, 1.3.2, Tables 1 to 3", (68,), "table3", ("DLBH",)),
    Named("SSDH", "seed, Table 3; survey, 1.3.3, Tables 1 to 3", (23,), "table3", ("SSDH",)),
    Named("DLBH on CIFAR-10", "survey, Table 2", (68,), "cifar10", ("DLBH",)),
    Named("SSDH on CIFAR-10", "survey, Table 2", (23,), "cifar10", ("SSDH",)),
    Named("DH", "survey, 1.3.2, Tables 1 and 2", (69,), "cifar10_unlabelled", ("DH",)),
    Named("DeepBit", "survey, 1.3.2, Tables 1 and 2", (70,), "cifar10_unlabelled", ("DeepBit",)),
    Named("BDNN, unsupervised", "survey, 1.1 and 1.3.3", (26,), "cifar10_unlabelled", ("UH-BDNN",)),
    Named("BDNN, supervised", "survey, 1.1 and 1.3.3", (26,), "cifar10", ("SH-BDNN",)),
    Named("CNNH", "survey, 1.3.3, Tables 1 and 2", (22,), "cifar10", ("CNNH",)),
    Named("DSRH: deep semantic ranking", "survey, 1.3.3, Table 1", (24,), "cifar10", ("DSRH",)),
    Named("DNNH: triplets, divide and encode", "survey, 1.3.3, Tables 1 and 2", (28,), "cifar10",
          ("DNNH",)),
    Named("DRSCH and DSCH: bit-scalable, weighted bits", "survey, 1.3.3, Tables 1 and 2", (27,),
          "cifar10", ("DRSCH", "DSCH")),
    Named("DPSH: pairs", "survey, 1.3.3, Tables 1 and 2", (29, 71), "cifar10", ("DPSH",)),
    Named("DHN", "survey, 1.3.3, Tables 1 and 2", (72,), "cifar10", ("DHN",)),
    Named("DSPRH: semantic-preserving and ranking-based", "survey, 1.3.3", (73,),
          missing=_NO_TABLES + "it joins a triplet ranking with a classifier, which DNNH and SSDH"
          " have one by one"),
    Named("very deep autoencoders", "survey, 1.1", (25,),
          missing=_NO_TABLES + "it learned from 80 million tiny images, which are no longer"
          " public"),
    Named("HashNet, GreedyHash, OrthoHash, CSQ", "not in the papers: for today's reader", (),
          "cifar10", ("HashNet", "GreedyHash", "OrthoHash", "CSQ")),
    Named("CIBHash: contrastive, without labels", "not in the papers: for today's reader", (),
          "cifar10_unlabelled", ("CIBHash",)),
    Named("LSH and ITQ: learning to hash on fixed features", "survey, 1.3.1", (53, 54),
          "cifar10_unlabelled", ("LSH", "PCA-ITQ")),
    Named("semantic hashing; small codes", "survey, 1.3.1", (56, 57),
          missing=_NO_TABLES + "they learn from word counts of documents and from GIST features of"
          " the tiny images, which are no longer public"),
    Named("multi-scale LSH, semi-supervised hashing with semantic confidence", "survey, 1.3.1",
          (55, 58), missing=_NO_TABLES + "no figures of them are given; LSH and ITQ run in their"
          " place"),
    Named("hashing by deep learning (a review)", "survey, 1.3.1", (67,),
          missing="a text about systems that stand above"),
    Named("features of a network, searched as they are: neural codes, off-the-shelf features",
          "survey, 1.1", (18, 19, 21), "transmission", ("global features",)),
    Named("multi-scale orderless pooling", "survey, 1.1", (20,),
          missing=_NO_TABLES + "it pools features of some hundred crops of a photo, each a run of"
          " the network"),
    Named("multi-index hashing", "survey, 2", (80,),
          elsewhere="the lookup of galleries: [performance](PERFORMANCE.md)"),
    Named("HDIdx: adaptive division of the bits", "survey, 2", (79,), "multi_index", ("HDIdx",)),
)  # fmt: skip
