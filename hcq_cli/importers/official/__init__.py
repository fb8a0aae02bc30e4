"""The published implementation of 2022 (gimpong/WWW22-HCQ), quirks included: its weights give its numbers here.

The model of `hcq_cli.model` is the mended one and knows nothing of this; only a checkpoint folder that
`hcq import official` wrote is loaded from here (`checkpoint.py`). What the reference does otherwise, and what this
package therefore does again:

- the ghost's column is dropped before the softmax, so that the ghost does nothing (`layers.py`);
- the mask is multiplied into the logits before batch norm, so that padding is assigned all the same (`layers.py`);
- text and video share batch-norm statistics (`layers.py`);
- the [AGG] outputs of missing experts are averaged in (`video.py`);
- a k-means cell left empty becomes a zero codeword for ever, and duplicates in a batch are negatives of each other
  (how it trains, which only the tests have).

Files, in the order to read them:

- importing.py: `hcq import official`, from a .pth file to a checkpoint folder
- pickle_reader.py, pickle_child.py: the file is read in a child process, by ../restricted_unpickler.py
- description.py: what its configuration and its weights say of the model
- options.py, names.py: its settings and its parameters, under its names and ours
- network.py, video.py, layers.py: the model itself
- checkpoint.py: that model with the face of one of ours, and how a checkpoint folder holds it
"""
