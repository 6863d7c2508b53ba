"""From yaml to objects: one door, and a check of everything before any model is loaded."""

from __future__ import annotations

import copy
import inspect
import logging
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from evodistill import RunError, credentials

if TYPE_CHECKING:
    from evodistill.backend import Backend

log = logging.getLogger(__name__)

TRUSTED = "evodistill."  # a config is code: nothing else may be built from one
NAME, NAMED = re.compile(r"\w[\w.-]*"), "letters, digits, _ - and ."
SETTINGS = (
    *("name", "study", "seed", "path", "steps", "instructions", "artifacts", "max_rejected", "dry_run"),
    *("metric", "benchmark", "benchmarked", "tracker", "axes", "hardware"),
)


def by_size(size: float, steps: Mapping[float, Any]) -> Any:
    """The value of the smallest bound that `size` (billions of parameters) does not exceed: {2: a, 10: b, inf: c}."""
    return steps[min(bound for bound in steps if size <= bound)]


OmegaConf.register_new_resolver("by_size", by_size, replace=True)


def build(node: DictConfig) -> Any:
    """The object that a node describes, given plain dicts and lists. Only our own code is called."""
    for path, inner in targets(node):
        trusted(path, inner)
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, ValueError | TypeError | RunError):  # what a __post_init__ refused
            raise RunError(f"{node._get_full_key(None)}: {error.__cause__}") from None
        raise


def check(cfg: DictConfig) -> dict[str, Backend]:
    """Refuse a config with missing or misspelt keys, wrong types or values, or steps and roles that it does not hold;
    gives the models that it asks, by role, none of them loaded.

    Hydra refuses an unknown key on the command line but silently adds one that stands in a yaml file; binding every
    node to the signature of what it names finds those too."""
    from evodistill import max_rejected

    try:
        credentials.check(OmegaConf.to_container(cfg, resolve=True))
        missing = sorted(OmegaConf.missing_keys(cfg))
    except OmegaConfBaseException as error:
        raise RunError(f"config: {str(error).splitlines()[0]}") from None
    if missing:
        raise RunError(
            f"set these keys: {', '.join(missing)} (KEY=VALUE on the command line, or in the experiment's yaml)"
        )
    for key, node in cfg.items():
        if key not in SETTINGS and not (isinstance(node, DictConfig) and "_target_" in node):
            raise RunError(
                f"unknown key {key!r} at the top of the config; it is no setting ({', '.join(SETTINGS)}), step or role"
            )
    if not isinstance(cfg.dry_run, bool):
        raise RunError(f"dry_run={cfg.dry_run!r} must be true or false")
    max_rejected.check(cfg.get("max_rejected"))
    check_names(cfg)
    for path, node in targets(cfg):
        bind(path, node)
    return check_steps(cfg)


def check_names(cfg: DictConfig) -> None:
    """What files and folders are called after leads nowhere else."""
    for key in ("name", "study"):
        if not NAME.fullmatch(str(cfg[key])):
            raise RunError(f"{key}={str(cfg[key])!r} is no name: folders are called after it; use {NAMED}")
    for key in ("metric", "benchmark"):
        if not isinstance(cfg.get(key) or {}, DictConfig | dict):
            raise RunError(f"{key}={cfg[key]!r} must be chosen by name, as '{key}=[NAME]'")
    for group in (cfg, cfg.get("metric") or {}, cfg.get("benchmark") or {}):
        for key in group:
            if not NAME.fullmatch(str(key)):
                raise RunError(f"the key {str(key)!r} is no name: files are called after it; use {NAMED}")


def check_steps(cfg: DictConfig) -> dict[str, Backend]:
    """Every step and metric can be built, and the roles and prompt variables that it names exist; gives the models."""
    from evodistill import prompt

    if not isinstance(cfg.get("steps"), ListConfig) or not all(isinstance(name, str) for name in cfg.steps):
        raise RunError(f"steps={cfg.get('steps')!r} must be a list of keys of the config, as [dataset,evolution]")
    for name in cfg.steps:
        if name not in cfg:
            raise RunError(f"steps names {name!r}, which the config does not hold; it holds {', '.join(stepped(cfg))}")
    check_source(cfg)
    made_by = makers(cfg)
    sandboxes: set[Any] = set()  # that generated code will run in
    models: dict[str, Backend] = {}
    for path, item in work(cfg):
        built = build(item)
        for role in asked(built):
            if role in made_by:
                if made_by[role] >= done_before(cfg, path, built):
                    raise RunError(f"{path} asks the role {role!r} before {cfg.steps[made_by[role]]} has made it")
            elif role not in cfg or not str(cfg[role].get("_target_", "")).startswith("evodistill.backend."):
                raise RunError(f"{path} asks the role {role!r}, which has no model; choose one with model@{role}=NAME")
            elif role not in models:
                models[role] = build(cfg[role])  # refuses an address, a name or an engine's key that it could not use
        for name, variables in dict(built.prompts).items():
            if unknown := sorted(prompt.variables(name) - set(variables)):
                raise RunError(
                    f"{path}: prompt {name} uses {unknown[0]!r}, which is not defined; "
                    f"it may use {', '.join(variables)}"
                )
        if (records := getattr(built, "records", None)) and records not in cfg.steps:
            raise RunError(
                f"{path}.records={records} is none of the steps ({', '.join(cfg.steps)}); "
                "name one, or null for the last"
            )
        if hasattr(built, "suits"):
            here = {role: models[role].on_disk for role in built.roles if role in models}
            built.suits({role: folder for role, folder in here.items() if folder})
        sandboxes |= {built.sandbox} if hasattr(built, "sandbox") else set()
    for sandbox in sandboxes:
        sandbox.check()
    for group in ("metric", "benchmark"):
        for name in sorted(set(map(str, cfg.get(group) or ())) - {name for name, _ in chosen(cfg, group)}):
            log.warning("%s.%s is set but not chosen: '%s=[…,%s]' chooses it", group, name, group, name)
    return models


def check_source(cfg: DictConfig) -> None:
    """Records come from a dataset, which is the first step and no other; without steps there is nothing to measure."""
    sources = [str(key) for key in stepped(cfg) if str(cfg[key]._target_).startswith("evodistill.dataset.")]
    told = f"steps=[{','.join(cfg.steps)}]"
    for number, name in enumerate(cfg.steps):
        if number == 0 and name not in sources:
            raise RunError(f"{told}: nothing gives {name} records; begin with {' or '.join(sources) or 'a dataset'}")
        if number and name in sources:
            raise RunError(f"{told}: {name} takes no records; it can only be the first step")
    if not cfg.steps and metrics(cfg):
        named = ", ".join(name for name, _ in metrics(cfg))
        raise RunError(f"{told}: no step leaves records for the metrics ({named}); 'metric=[]' leaves them out")
    if not cfg.steps and not benchmarks(cfg):
        raise RunError(f"{told} and no benchmark: nothing to do; name steps, or choose '+benchmark=[NAME]'")


def work(cfg: DictConfig) -> list[tuple[str, DictConfig]]:
    """(dotted path, node) of each step, metric and benchmark."""
    return [
        *((name, cfg[name]) for name in cfg.steps),
        *((f"metric.{name}", node) for name, node in metrics(cfg)),
        *((f"benchmark.{name}", node) for name, node in benchmarks(cfg)),
    ]


def asked(built: Any) -> tuple[str, ...]:
    """The roles that a step, metric or benchmark names."""
    return (*built.roles, *getattr(built, "rivals", ()))


def lacking(models: Mapping[str, Backend]) -> list[str]:
    """What the models that a run asks lack where it runs, a key for one, each said once. Nobody is asked for it."""
    found: dict[str, None] = {}
    for model in models.values():
        try:
            model.ready()
        except RunError as error:
            found[str(error)] = None
    return list(found)


def makers(cfg: DictConfig) -> dict[str, int]:
    """The roles that trainers make, and the number of the step that makes each."""
    found: dict[str, int] = {}
    for number, name in enumerate(cfg.steps):
        if role := cfg[name].get("makes"):
            if role in cfg or role in found:
                raise RunError(f"{name}.makes={role} is taken; name a role that is not there yet")
            found[str(role)] = number
    return found


def done_before(cfg: DictConfig, path: str, built: Any) -> int:
    """How many steps are done when a step, metric or benchmark runs."""
    steps = list(cfg.steps)
    if path in steps:
        return steps.index(path)
    return steps.index(built.records) + 1 if getattr(built, "records", None) in steps else len(steps)


def add_trained(cfg: DictConfig, name: str, step: Any, path: str) -> None:
    """Add the role that a trainer makes: the role that it trains, with other weights and a name of its own."""
    base = OmegaConf.to_container(cfg[step.model], resolve=True)
    assert isinstance(base, dict)
    kept = {key: value for key, value in base.items() if key not in ("package", "source")}
    with open_dict(cfg):
        cfg[step.makes] = kept | {"name": f"{base['name']}-{name}", "path": path}


def with_rival(cfg: DictConfig, name: str, role: str, rival: str) -> DictConfig:
    """The steps before `name`, and nothing else, with the model of `rival` as `role`."""
    made = copy.deepcopy(cfg)
    OmegaConf.set_struct(made, False)
    made[role] = made[rival]
    OmegaConf.resolve(made)  # a step may name a metric to rank by, or the benchmarks
    made.steps, made.metric, made.benchmark = list(cfg.steps)[: list(cfg.steps).index(name)], {}, {}
    return made


def metrics(cfg: DictConfig) -> list[tuple[str, DictConfig]]:
    """(name, node) of each chosen metric."""
    return chosen(cfg, "metric")


def benchmarks(cfg: DictConfig) -> list[tuple[str, DictConfig]]:
    """(name, node) of each chosen benchmark; where `benchmarked` lists roles, one for each of them, name@role."""
    nodes = chosen(cfg, "benchmark")
    roles = list(cfg.get("benchmarked") or ())
    if not roles:
        return nodes
    return [(f"{name}@{role}", OmegaConf.merge(node, {"model": role})) for role in roles for name, node in nodes]  # type: ignore[misc]


def chosen(cfg: DictConfig, group: str) -> list[tuple[str, DictConfig]]:
    """What a list such as 'metric=[ifd]' names. An experiment's settings of what another list leaves out stay in the
    config, but without a class they are of nobody."""
    return [(str(name), node) for name, node in (cfg.get(group) or {}).items() if "_target_" in node]


def identity(value: Any) -> Any:
    """What the outcome depends on, of a configured object: its class and fields, but for those marked
    `metadata={"identity": False}` (they make it faster, no more)."""
    if is_dataclass(value) and not isinstance(value, type):
        told = {field.name: identity(getattr(value, field.name)) for field in fields(value) if counts(field)}
        return {"does": f"{type(value).__module__}.{type(value).__qualname__}"} | told
    if isinstance(value, Mapping):
        return {str(key): identity(item) for key, item in value.items()}
    return [identity(item) for item in value] if isinstance(value, list | tuple) else value


def counts(field: Field[Any]) -> bool:
    return field.metadata.get("identity", True)


def stepped(cfg: DictConfig) -> list[str]:
    return [
        str(key)
        for key, node in cfg.items()
        if key not in SETTINGS and not str(node._target_).startswith(("evodistill.backend.", "evodistill.sandbox."))
    ]


def targets(node: Any, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """(dotted path, node) of every node that names a class or function."""
    if isinstance(node, DictConfig) and not node._is_none():
        if "_target_" in node:
            yield path, node
        for key in node:
            yield from targets(node[key], f"{path}.{key}" if path else str(key))
    elif isinstance(node, ListConfig) and not node._is_none():
        for number, item in enumerate(node):
            yield from targets(item, f"{path}[{number}]")


def trusted(path: str, node: DictConfig) -> type:
    """The class that a node names. It must be one of ours: a path through our modules leads to what they import, and a
    function may do something when it is called."""
    target = str(node._target_)
    refused = RunError(f"{path}._target_={target} is refused: a config may build classes of {TRUSTED}* only")
    if not target.startswith(TRUSTED):
        raise refused
    try:
        named = get_object(target)
    except (ImportError, ValueError) as error:
        raise RunError(f"{path}._target_={target} cannot be imported: {error}") from None
    except InstantiationException:  # Hydra's own list of what no config may name
        raise refused from None
    if not (isinstance(named, type) and named.__module__.startswith(TRUSTED)):
        raise refused
    return named


def bind(path: str, node: DictConfig) -> None:
    """Bind one node to the signature of what it names, and its values to the parameters' types."""
    from typeguard import TypeCheckError, check_type

    named = trusted(path, node)
    values = OmegaConf.to_container(node, resolve=True)
    assert isinstance(values, dict)
    arguments = {str(key): value for key, value in values.items() if not str(key).startswith("_")}
    signature = inspect.signature(named)
    for key in arguments:
        if key not in signature.parameters:
            raise RunError(f"{path}.{key}: {named.__name__} has no such key; it has {', '.join(signature.parameters)}")
    for name, parameter in signature.parameters.items():
        if parameter.default is parameter.empty and name not in arguments:
            raise RunError(f"{path}.{name} is missing: {named.__name__} needs it")
    hints = parameter_types(named)
    for key, value in arguments.items():
        if isinstance(value, Mapping) and "_target_" in value:
            continue  # an object of its own, bound on its own
        try:
            check_type(value, hints.get(key, Any))
        except TypeCheckError:
            raise RunError(
                f"{path}.{key}={value!r} has the wrong type: {signature.parameters[key].annotation} is needed"
            ) from None


def parameter_types(named: Any) -> dict[str, Any]:
    """The types of the parameters of a dataclass or function, each resolved where it was written."""
    if not is_dataclass(named):
        return typing.get_type_hints(named)
    given = {field.name for field in fields(named) if field.init}
    found: dict[str, Any] = {}
    for parent in reversed(inspect.getmro(typing.cast(type, named))):
        own = {name: hint for name, hint in inspect.get_annotations(parent).items() if name in given}
        found |= typing.get_type_hints(
            type(parent.__name__, (), {"__annotations__": own, "__module__": parent.__module__})
        )
    return found
