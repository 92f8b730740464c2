"""How equal a graph is to what it stands for.

What is measured is a parity, what passes is a tolerance, whose `problem` names what does not:

    logits   LogitsTolerance   Parity        the same tensors through a graph and its checkpoint
    masks    MaskTolerance     MaskParity    the same image file through two whole pipelines
    alphas   AlphaTolerance    AlphaParity   8-bit masks of a graph from pixels to alpha
    quality  a smallest IoU    Quality       masks of int8 and of float32, over several images

The other modules have both sides compute: an export and its checkpoint (`export_check`), any graph
and any reference (`compare_models`), point by point in between (`layer_diff`).
"""
