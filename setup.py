"""Which packages there are: a list in pyproject.toml would silently lose a new folder."""

from setuptools import find_packages, setup

# These stand at the top of the repository and are installed below embodkd, so that nothing called plain `envs` lands
# in anybody's site-packages.
UNDER_EMBODKD = ("envs", "policies", "configs")

inner = [f"embodkd.{p}" for top in UNDER_EMBODKD for p in find_packages(".", include=[top, f"{top}.*"])]
setup(
    packages=[*find_packages(".", include=["embodkd", "embodkd.*"]), *inner],
    package_dir={f"embodkd.{top}": top for top in UNDER_EMBODKD},
)
