"""The models of a run, by role."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from omegaconf import DictConfig, OmegaConf

from evodistill import config
from evodistill.backend import Usage
from evodistill.backend.api import API
from evodistill.backend.cache import Cache, Cached
from evodistill.backend.spending import Spending
from evodistill.record import digest
from evodistill.stream import Draws

NO_STUDY = "adhoc"  # conf/config.yaml


class Models(dict[str, Cached]):
    """Role → model. Roles with the same model share one engine, built when first asked and closed by `release`."""

    def __init__(self, cfg: DictConfig, cache: Cache) -> None:
        super().__init__()
        self.cfg, self.cache = cfg, cache
        self.shared: dict[str, Cached] = {}

    def __missing__(self, role: str) -> Cached:
        node = self.cfg[role]
        key = digest(OmegaConf.to_container(node, resolve=True))
        if key not in self.shared:
            model = config.build(node)
            if isinstance(model, API):
                model.spending = Spending(self.cache.path, self.purse, ", ".join(sorted(model.urls)))
            self.shared[key] = Cached(model, self.cache)
        self[role] = self.shared[key]
        return self[role]

    @property
    def purse(self) -> str:
        """What a budget holds for: the study, else the run's name. The same command has it again."""
        return self.cfg.study if self.cfg.study != NO_STUDY else self.cfg.name

    def release(self, needed: set[str]) -> None:
        """Close the engines that none of the roles still needed uses."""
        # a role not asked yet may share an engine that is open; one that is yet to be trained has none
        kept = {id(self[role]) for role in needed if role in self.cfg}
        for model in self.shared.values():
            if id(model) not in kept:
                model.close()

    @contextmanager
    def portions(self, roles: Sequence[str]) -> Iterator[Callable[[], None]]:
        """Within, equal chats are counted over all portions of a step; call what is given as each portion begins."""
        asked = {id(self[role]): self[role] for role in roles}.values()
        draws = [Draws() for _ in asked]
        for model, counted in zip(asked, draws, strict=True):
            model.draws = counted

        def begins() -> None:
            for counted in draws:
                counted.portion()

        try:
            yield begins
        finally:
            for model in asked:
                model.draws = None

    def usage(self, roles: Sequence[str]) -> Usage:
        """What the models of these roles have done so far, each counted once."""
        total = Usage()
        for model in {id(self[role]): self[role] for role in roles}.values():
            total = total.plus(replace(model.usage, usd=model.inner.usd))
        return total
