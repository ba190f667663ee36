"""The modules of a recipe: those that it changes, and those that it only asks."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from embodkd.core.recipe import Player, Recipe, Stage
from embodkd.core.role import Role, roles_of


def learning_modules(recipe: Recipe) -> list[nn.Module]:
    """The modules that the recipe changes, each once, in a fixed order: what a checkpoint holds (no teacher)."""
    found = [recipe.product, *(module for player in _players(recipe) for module in player.learning_modules())]
    return list({id(module): module for module in found}.values())


def asked(recipe: Recipe) -> list[nn.Module]:
    """The models of all roles that only answer."""
    given = [answerer for player in _players(recipe) for answerer in player.given.values()]
    return [role.model for answerer in given for role in roles_of(answerer)]


def roles(recipe: Recipe) -> list[Role]:
    """All of them, each once."""
    answerers = [answerer for player in _players(recipe) for answerer in (player.train, *player.given.values())]
    return list(dict.fromkeys(role for answerer in answerers for role in roles_of(answerer)))


def _players(recipe: Recipe) -> Iterator[Player]:
    for stage in recipe.stages:
        if isinstance(stage, Stage):
            yield from stage.players
