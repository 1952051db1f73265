"""Make `mlflow run .` use the environment that it is started from: `python -m hemacell.tracking.project_environment`.

For a project with a python_env.yaml, `mlflow run` wants an environment of its own under MLFLOW_ENV_ROOT, named after a
hash of the requirements. Where it is missing, MLflow asks pyenv for a Python (without pyenv that ends in a traceback)
and installs everything a second time. `make` has just installed these very requirements into .venv, so it enters .venv
under that name, in a root inside .venv itself: with pyenv and without, MLflow finds the environment and starts at once.
Nothing is shared between two copies of the project, and nothing is left when .venv is deleted. Once requirements.txt
changes, the name does too, and `make` enters the renewed .venv again.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
ROOT_FOLDER = "mlflow-envs"

# Read by each start of this environment's Python, so that it holds in every shell, activated or not; a root that the
# user has chosen wins.
_HOOK = f"""import os, sys; os.environ.setdefault("MLFLOW_ENV_ROOT", os.path.join(sys.prefix, "{ROOT_FOLDER}"))\n"""


def environment_name(project: Path) -> str:
    """Return the name under which MLflow looks for the environment of the project in this folder."""
    from mlflow.utils.environment import _PythonEnv
    from mlflow.utils.virtualenv import _get_virtualenv_name

    return _get_virtualenv_name(_PythonEnv.from_yaml(project / "python_env.yaml"), project)


def enter(project: Path, prefix: Path, root: Path) -> Path:
    """Enter the environment at `prefix` under `root` as the one of `project`; return the new folder.

    MLflow reads nothing but bin/activate in it. Entries for earlier requirements are removed, since `prefix` no longer
    holds them; environments that MLflow has built there itself are left alone.
    """
    activate = prefix / "bin" / "activate"
    for earlier in root.glob("mlflow-*/bin/activate"):
        if earlier.is_symlink():
            earlier.unlink()
            earlier.parent.rmdir()
            earlier.parent.parent.rmdir()
    entry = root / environment_name(project) / "bin" / "activate"
    entry.parent.mkdir(parents=True, exist_ok=True)
    entry.symlink_to(activate)
    return entry.parent.parent


def main() -> None:
    """Enter the running environment and make its Python look there."""
    prefix = Path(sys.prefix)
    if sys.prefix == sys.base_prefix:
        sys.exit(f"error: expected the Python of a virtual environment, found {sys.executable}; type make install")
    enter(PROJECT, prefix, prefix / ROOT_FOLDER)
    Path(sysconfig.get_path("purelib"), "hemacell_mlflow_envs.pth").write_text(_HOOK, encoding="utf-8")


if __name__ == "__main__":
    main()
