"""What we rely on in mergekit beyond its public names, all in one place.

``turnswap status`` shows the check, and a version of mergekit that does not fit is refused by name. What is used:

- Every command calls ``mergekit.merge.run_merge``, which asks ``get_architecture_info`` of the same module and reads
  configurations with ``MergeConfiguration.model_validate``: ``registration.py``, ``merge_run.py``.
- A ``GroupMergeMethod`` sees the tensor's name, and its ``validate_inputs`` is called before anything is read:
  ``layer_swap.py``.
- A ``ModelArchitecture`` made of ``WeightInfo`` decides what is written: ``layout.py``.
- ``convert_checkpoint_tensors`` makes fused experts of single ones: ``weights.py``, ``layout.py``.
- ``ModelReference.merged`` names the cache entry of a merged adapter: ``checkpoint.py``, ``merge_run.py``.
- ``resolve_parameter`` gives filters their meaning: ``recipe.py``.
"""

from __future__ import annotations

from turnswap.core.contract import require, unmet
from turnswap.core.errors import require_packages

RELIED_ON = (
    "mergekit.architecture: ModelArchitecture(modules, architectures) get_architecture_info(config, options)",
    "mergekit.architecture: WeightInfo(name, aliases, tied_names, force_dtype)",
    "mergekit.architecture.conversion: convert_checkpoint_tensors",
    "mergekit.architecture.json_definitions: JsonLayerTemplates JsonModuleArchDef JsonModuleArchitecture",
    "mergekit.common: ModelPath ModelReference.config ModelReference.local_path ModelReference.merged dtype_from_name",
    "mergekit.config: ConditionalParameter InputModelDefinition MergeConfiguration.model_validate",
    "mergekit.io.lazy_tensor_loader: LazyTensorLoader.get_tensor LazyTensorLoader.flush",
    "mergekit.io.tasks: LoaderCache",
    "mergekit.merge: get_architecture_info run_merge(merge_config, out_path, options, config_source)",
    "mergekit.merge_methods.base: BasePolicy GroupMergeMethod.merge_group InputContract MergeMethod.validate_inputs",
    "mergekit.merge_methods.base: OptionalTensorPolicy PerNonBase TensorGroup",
    "mergekit.merge_methods.easy_define: merge_method",
    "mergekit.merge_methods.linear: linear_merge",
    "mergekit.merge_methods.registry: _METHODS",
    "mergekit.options: MergeOptions",
    "mergekit.parameter_resolver: resolve_parameter",
)


def check_mergekit() -> list[str]:
    """What does not hold in the mergekit that is installed; nothing where it fits."""
    return unmet(RELIED_ON)


def require_mergekit() -> None:
    """Refuse to go on where mergekit is missing or does not fit.

    Raises:
        UserError: it names what does not hold, and the command that installs the version that works.
    """
    require_packages("Layer swapping needs", ("mergekit",), "merge")
    require("mergekit", check_mergekit())
