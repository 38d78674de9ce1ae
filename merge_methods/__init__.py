"""Layer swapping for mergekit: ``merge_method: layer_swap``, with a plan before and a proof after."""
