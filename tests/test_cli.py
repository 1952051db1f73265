"""The command line of a job and the settings behind it, tried on a small settings class."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, model_validator

from hemacell.cli import main, parse
from hemacell.config.base import Settings
from hemacell.config.jobs import WbcSettings
from hemacell.config.roles import Execution, Key, Resolved, Varied
from hemacell.core.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


class SmallSettings(Settings):
    """Train something small.

    Example: python -m small --fraction 0.5
    """

    fraction: Varied[float] = Field(1.0, gt=0, le=1, description="share of the labelled images", examples=[0.5])
    labels_per_class: Varied[int | None] = Field(None, ge=1, description="labels per class, instead of fraction")
    draw: Varied[Annotated[int, Field(ge=0)] | Literal["official"]] = Field(0, description="which images are drawn")
    encoders: Key[tuple[str, ...]] = Field(("prcc", "camelyon"), description="frozen encoders")
    rates: Key[tuple[float, ...]] = Field((0.1, 1.0), description="learning rates")
    balance: Key[Literal["none", "sampler", "augment"]] = Field("none", description="how rare classes are made up for")
    force: Execution[bool] = Field(False, description="run again what is finished")
    data: Resolved[str] = Field("", description="folder with the images")

    @model_validator(mode="after")
    def _one_budget(self) -> "SmallSettings":
        if self.labels_per_class is not None and self.fraction != 1.0:
            raise ValueError("expected fraction or labels_per_class, found both; leave one out")
        return self


SCRIPT = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from test_cli import SmallSettings
from hemacell.core.errors import UserError
from hemacell.cli import main

def job(settings):
    if settings.data == "missing":
        raise UserError("data: expected a folder,\\nfound none")
    print(repr(settings.canonical()))

if __name__ == "__main__":
    main(SmallSettings, job)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "small.py"
    path.write_text(SCRIPT.format(root=str(ROOT), tests=str(Path(__file__).parent)))
    return path


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--fracton", "0.5"], "unknown option '--fracton'; did you mean --fraction?"),
        (["--fraction", "half"], "fraction: expected a number, above 0 and at most 1, found 'half'; type for example"),
        (["--labels-per-class", "2.5"], "labels_per_class: expected a whole number, at least 1, found '2.5'"),
        (["--balance", "samler"], "expected one of none, sampler, augment, found 'samler'; did you mean sampler?"),
        (["--force", "maybe"], "force: expected true or false, found 'maybe'; type for example force=true"),
        (["--force", "--draw", "1"], "--force needs a value; type for example --force true"),
        (["--force"], "--force needs a value; type for example --force true"),
        (["fraction=0.5"], "expected --NAME VALUE, found 'fraction=0.5'; type --fraction 0.5"),
        (["--data", "missing"], "data: expected a folder, found none"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(script, arguments, line):
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, cwd=script.parent)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ") and line in done.stderr


@pytest.mark.parametrize("value", ["0", "1.5", "-0.1", "nan", "inf", "0,5"])
def test_a_fraction_out_of_range_is_refused(value):
    with pytest.raises(UserError, match=f"above 0 and at most 1, found '{value}'; type for example fraction=0.5"):
        parse(SmallSettings, ["--fraction", value])


def test_mistakes_of_several_settings_are_named_together():
    with pytest.raises(UserError) as error:
        parse(SmallSettings, ["--fraction", "x", "--draw", "offical", "--rates", "0.1,y"])
    first, second, third = str(error.value).split("; ")[0::2]
    assert first.startswith("fraction: ")
    assert second == "draw: expected a whole number, at least 0 or official, found 'offical'"
    assert third == "rates: expected values separated by commas, each a number, found 'y'"


def test_a_rule_over_several_settings_speaks_for_itself():
    with pytest.raises(UserError, match=r"^expected fraction or labels_per_class, found both; leave one out$"):
        SmallSettings.from_strings({"fraction": "0.5", "labels_per_class": "5"})


def test_hyphens_equals_signs_and_empty_values():
    settings = parse(
        SmallSettings, ["--labels-per-class=5", "--fraction", "", "--data", "a b,c;d'e\"f", "--force", "TRUE"]
    )
    assert settings == SmallSettings(labels_per_class=5, data="a b,c;d'e\"f", force=True)


def test_lists_are_split_at_commas():
    settings = parse(SmallSettings, ["--encoders", "prcc, models:/x/1,", "--rates", "1,0.5"])
    assert settings is not None
    assert settings.encoders == ("prcc", "models:/x/1")
    assert settings.rates == (1.0, 0.5)


def test_canonical_texts():
    canonical = SmallSettings(fraction="0.50", force=True, draw="3").canonical()
    assert canonical == {
        "fraction": "0.5",
        "labels_per_class": "",
        "draw": "3",
        "encoders": "prcc,camelyon",
        "rates": "0.1,1.0",
        "balance": "none",
        "force": "true",
        "data": "",
    }


@hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])  # of a busy machine
@given(
    st.builds(
        SmallSettings,
        fraction=st.floats(0, 1, exclude_min=True),
        draw=st.integers(0) | st.just("official"),
        rates=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1).map(tuple),
        balance=st.sampled_from(["none", "sampler", "augment"]),
        force=st.booleans(),
        data=st.text().filter(lambda text: text.strip() or not text),
    )
)
def test_canonical_texts_are_read_back(settings):
    assert SmallSettings.from_strings(settings.canonical()) == settings


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        SmallSettings().fraction = 0.5


@pytest.mark.parametrize(
    ("annotation", "field"),
    [
        (Key[int], Field(1)),
        (Key[int], Field(description="no default")),
        (Key[int | None], Field(1, description="never None again")),
        (int, Field(1, description="no role")),
        (Key[Execution[int]], Field(1, description="two roles")),
    ],
)
def test_a_field_that_text_cannot_carry_is_refused_at_once(annotation, field):
    with pytest.raises(TypeError, match=r"Bad\.size"):
        type("Bad", (Settings,), {"__annotations__": {"size": annotation}, "size": field})


def test_help_is_complete_and_imports_nothing_heavy(script):
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]; sys.argv = ['small', '--help']\n"
        f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')\n"
        "heavy = {'torch', 'mlflow', 'sklearn', 'matplotlib', 'torchvision'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, field in SmallSettings.model_fields.items():
        assert f"--{name} " in done.stdout
        assert field.description in " ".join(done.stdout.split())
    assert "Example: python -m small --fraction 0.5\n" in done.stdout
    assert "[default: prcc,camelyon]" in done.stdout


def test_an_interrupted_job_ends_with_130(capsys):
    def job(settings):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        main(SmallSettings, job, [])
    assert end.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_fault_of_the_program_keeps_its_traceback():
    def job(settings):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main(SmallSettings, job, [])


def test_values_reach_the_job_through_mlflows_shell_command(tmp_path):
    """What MLflow makes of MLproject: values quoted and filled in, undeclared ones appended, all given to bash."""
    from mlflow.projects import load_project

    odd = "a b,c;d'e\"f $HOME {x}"
    values = {"data": odd, "encoders": "prcc,models:/x/1", "fraction": "", "run_name": odd, "force": "true"}
    command = load_project(str(ROOT)).get_entry_point("wbc").compute_command(values, str(tmp_path))
    assert command.startswith("python -m projects.wbc ") and "--learning_rate" not in command
    script = tmp_path / "job.py"
    script.write_text(
        "from hemacell.cli import main\nfrom hemacell.config.jobs import WbcSettings\n"
        "main(WbcSettings, lambda settings: print(repr(settings.canonical())))\n"
    )
    command = command.replace("python -m projects.wbc", f"{sys.executable} {script}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, check=True)
    assert eval(done.stdout) == WbcSettings.from_strings(values).canonical()
