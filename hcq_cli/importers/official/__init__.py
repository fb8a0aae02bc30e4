"""The published implementation of 2022 (gimpong/WWW22-HCQ), quirks included: its weights give its numbers here.

The model of `hcq_cli.model` is the mended one and knows nothing of this; only a checkpoint folder that
`hcq import official` wrote is loaded from here (`checkpoint`). What the reference does otherwise, and what this
package therefore does again:

- the ghost's column is dropped before the softmax, so that the ghost does nothing (`fine`);
- the mask is multiplied into the logits before batch norm, so that padding is assigned all the same (`fine`);
- text and video share batch-norm statistics (`fine`, `quantizer`);
- the [AGG] outputs of missing experts are averaged in (`video`);
- a k-means cell left empty becomes a zero codeword for ever (`quantizer`);
- duplicates in a batch are negatives of each other (`losses`).

`options` holds its settings under its own names, `names` its parameters' names and ours, `official` reads the former
out of a checkpoint.
"""
