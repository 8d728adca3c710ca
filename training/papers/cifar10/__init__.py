"""The survey's protocol on CIFAR-10 (its Table 2): one backbone and budget for all methods."""
