"""On the path of a training process: accelerate shares weights by FSDP on a CPU too, which it does on GPUs alone."""

import importlib.abc
import importlib.util
import sys


class Patch(importlib.abc.MetaPathFinder):
    """Changes `accelerate.state` when it is imported, so that other processes pay nothing."""

    def find_spec(self, name, path, target=None):
        if name != "accelerate.state":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def changed(module):
            load(module)
            state, kinds = module.AcceleratorState, module.DistributedType
            init = state.__init__

            def __init__(self, *args, fsdp_plugin=None, **given):
                init(self, *args, fsdp_plugin=fsdp_plugin, **given)
                if fsdp_plugin is not None and self.distributed_type == kinds.MULTI_CPU:
                    self.distributed_type = module.PartialState._shared_state["distributed_type"] = kinds.FSDP
                    self.fsdp_plugin = fsdp_plugin

            state.__init__ = __init__

        spec.loader.exec_module = changed
        return spec


sys.meta_path.insert(0, Patch())
