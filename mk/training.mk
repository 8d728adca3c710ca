# Training and evaluation, in the torch environment. `make train` is in the Makefile; by default it
# needs no torch.

DESCRIBE ?=
UNSEEN   ?=
UNLABELLED ?=
JUDGE    ?=
CIFAR10  ?=
WEIGHTS  ?=
TINY     ?=
HASH     := build/hash$(BITS)/mobilenet_v1_hash$(BITS)

.PHONY: setup-train test-train hash evaluate accuracy papers

setup-train: $(TRAIN)/.ready  ## make the environment for training (torch, about 1 GB)

test-train: $(TRAIN)/.ready  ## run the tests of training/
	$(TRAIN)/bin/python -m pytest training/tests

ifeq ($(UNLABELLED),)
hash: $(TRAIN)/.ready  ## give a network another code length and evaluate it: make hash BITS=16 DATA=dir [MODEL=file] [METHOD=paper]; fit one to photos without labels: make hash UNLABELLED=1 DATA=my-photos/ [METHOD=itq] [JUDGE=labelled/]
	$(call require,DATA,make hash BITS=16 DATA=photos/)
	$(TRAIN)/bin/python -m training build-model --model $(MODEL) $(addprefix --data ,$(DATA)) --bits $(BITS) \
	  --method $(or $(METHOD),relational) --passes 0 --out $(dir $(HASH)) --evidence $(HASH).build_model.json
	$(TRAIN)/bin/python -m training quantize --model $(HASH).onnx $(addprefix --data ,$(DATA)) --out $(HASH)_int8.onnx
	$(TRAIN)/bin/python -m training evaluate --model $(HASH).onnx $(addprefix --data ,$(DATA)) --out $(HASH).json
	$(TRAIN)/bin/python -m training evaluate --model $(HASH)_int8.onnx $(addprefix --data ,$(DATA)) --out $(HASH)_int8.json
	$(TRAIN)/bin/python -m training model-card --evaluation $(HASH).json --small $(HASH)_int8.json \
	  --evidence $(HASH).build_model.json --out $(HASH).md
else
# A closed form needs no torch.
HASHER := $(if $(filter-out itq lsh,$(METHOD)),$(TRAIN),$(VENV))
hash: $(if $(filter $(VENV),$(HASHER)),$(VENV)/.train,$(TRAIN)/.ready)
	$(call require,DATA,make hash UNLABELLED=1 DATA=my-photos/)
	$(HASHER)/bin/python -m training finetune --unlabelled $(addprefix --data ,$(DATA)) $(addprefix --judge ,$(JUDGE)) \
	  --method $(or $(METHOD),itq) $(if $(call given,BITS),--bits $(BITS)) $(if $(MODEL_GIVEN),--model $(MODEL)) --out $(if $(OUT_GIVEN),$(OUT),build/hash-unlabelled)
endif

evaluate: $(TRAIN)/.ready  ## evaluate a model on photos: make evaluate DATA=dir [MODEL=file [DESCRIBE="--scale 1/255 ..."]] [UNSEEN=split.csv]
	$(call require,DATA,make evaluate DATA=photos/)
	$(TRAIN)/bin/python -m training evaluate --model $(MODEL) $(addprefix --data ,$(DATA)) $(DESCRIBE) $(if $(UNSEEN),--unseen $(UNSEEN)) \
	  --disturbances --out build/evaluate/result.json --page build/evaluate

accuracy: $(TRAIN)/.ready  ## write the accuracy page and the model cards from training/results/
	$(TRAIN)/bin/python -m training accuracy-page

papers: $(TRAIN)/.ready  ## run every table of the papers (hours, see docs/results/PAPERS.md; resumes): make papers DATA=../shared/data CIFAR10=dir WEIGHTS=file.npz [ONLY=table3,clips]; a short form of each in two minutes: make papers TINY=1 DATA=../shared/data WEIGHTS=file.npz
	$(call require,DATA,make papers DATA=../shared/data CIFAR10=cifar-10-batches-py WEIGHTS=mobilenet.npz)
	$(if $(TINY),,$(call require,CIFAR10,make papers DATA=../shared/data CIFAR10=cifar-10-batches-py WEIGHTS=mobilenet.npz))
	$(call require,WEIGHTS,make papers DATA=../shared/data CIFAR10=cifar-10-batches-py WEIGHTS=mobilenet.npz)
	OMP_NUM_THREADS=1 $(TRAIN)/bin/python -m training papers all --data $(DATA) $(addprefix --cifar10 ,$(CIFAR10)) --weights $(WEIGHTS) \
	  $(if $(ONLY),--only $(ONLY)) $(if $(TINY),--tiny)
