"""The setting `arms` of a study: lists of encoders and named overrides, and one line for each mistake."""

import pytest

from hemacell.config.arms import Arm, parse_arms
from hemacell.config.jobs import StudySettings
from hemacell.core.errors import UserError


def test_lists_of_encoders_and_named_overrides():
    arms = parse_arms(
        " none;prcc , camelyon; slow: encoders=prcc,camelyon , learning_rate = 1e-4;timm:resnet18,models:/x/3",
        {"encoders", "learning_rate"},
    )
    assert arms == [
        Arm("none", (("encoders", "none"),)),
        Arm("prcc,camelyon", (("encoders", "prcc,camelyon"),)),
        Arm("slow", (("encoders", "prcc,camelyon"), ("learning_rate", "1e-4"))),
        Arm("timm:resnet18,models:/x/3", (("encoders", "timm:resnet18,models:/x/3"),)),
    ]


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        ("none;", "expected lists of encoders or 'name: setting=value, …' with semicolons between, found ''"),
        ("none;none", "found 'none' and 'none' alike"),
        ("none;base: encoders=none", "found 'none' and 'base' alike"),
        ("encoders=none", "found 'encoders=none'; type for example"),
        (": encoders=none", "expected a name"),
        ("a:encodrs=none", "the arm 'a' cannot set 'encodrs'; did you mean encoders?"),
        ("a:draw=3", "the arm 'a' cannot set 'draw'; it is the same for all arms"),
        ("a:crop=1,crop=0.5", "crop twice"),
        ("a:crop=7", "crop: expected auto or a number, above 0 and at most 1, found '7'"),
        ("none,prcc", "none stands alone"),
    ],
)
def test_mistakes_are_one_line(arms, words):
    with pytest.raises(UserError) as error:
        StudySettings.from_strings({"arms": arms})
    assert str(error.value).startswith("arms: ") and words in str(error.value), error.value
