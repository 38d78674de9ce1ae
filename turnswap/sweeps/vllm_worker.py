"""What runs inside vLLM's workers: an engine's weights become another swap's, as the models' own files have them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_RELOADING = "vllm.model_executor.model_loader.reload"  # it warns of every part that keeps its weights


class SwapWorker:
    """Added to vLLM's own worker class, which must have none of its names (``worker_extension_cls``)."""

    def turnswap_load(
        self: Any, content: Mapping[str, Any], options: Mapping[str, Any], names: Sequence[str], plan: str
    ) -> tuple[str, str] | None:
        """Load tensors of a swap, each as its merged folder would hold it, into the engine's model.

        vLLM shards, packs and quantises them as at the start, into the memory where the weights lie.

        Args:
            content: what a layerswap.yml holds.
            options: of mergekit's, by name.
            names: the tensors', all of every layer that has one: vLLM fuses some, and takes no parts of what is fused.
            plan: the digest of the plan that whoever asks has in mind.

        Returns:
            Message and advice of what failed, after which the weights belong together no more.
        """
        # Here, as a worker that starts must not wait for mergekit.
        from mergekit.options import MergeOptions

        from turnswap.core.errors import UserError
        from turnswap.merge_methods.blending import refuse_overflow
        from turnswap.merge_methods.recipe import read_recipe
        from turnswap.merge_methods.weights import WeightReader, declared_tensor, stored_tensors

        merging = MergeOptions(**options)
        failed: list[tuple[str, str]] = []

        def tensors() -> Iterator[tuple[str, Any]]:
            try:
                recipe = read_recipe(content, merging, vars(self).setdefault("turnswap_opened", {}))
                if recipe.digest != plan:
                    raise UserError("The models have other tensors for vLLM's workers.", "Did their files change?")
                readers = {role: WeightReader(model, merging) for role, model in recipe.models.items()}
                copied = stored_tensors(recipe, merging)
                for name in names:
                    made = declared_tensor(recipe.tensors[name], readers, recipe.config)
                    if name not in copied:
                        refuse_overflow(made, made.dtype, name)
                    yield name, made
            except UserError as error:  # raised, it would leave vLLM's layers without any weights
                failed.append((error.message, error.advice))

        logger = logging.getLogger(_RELOADING)
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            self.reload_weights(weights_iterator=tensors())
        finally:
            logger.setLevel(level)
        # On CPUs a head keeps a packed copy of its weights; where they are the embeddings', nothing reloads the head.
        for module in self.get_model().modules():
            if hasattr(module, "cpu_linear") and module.weight.numel():  # others have given up their weights
                module.quant_method.process_weights_after_loading(module)
        return failed[0] if failed else None
