from pathlib import Path

import pytest
import yaml

from rolesum.errors import UsageError
from rolesum.models.catalog import DEFAULT_MODEL
from rolesum.recipe import dump_recipe
from rolesum.recipe_loading import load_recipe, parse_recipe

RECIPES = sorted((Path(__file__).resolve().parent.parent / "recipes").glob("*.yaml"))

SMALL = """\
name: small
data:
  train: {path: train.jsonl}
  test: {path: test.jsonl}
training:
  epochs: 3
"""


@pytest.fixture
def recipe_file(tmp_path):
    """Writes a recipe's text and gives its path."""

    def write(text=SMALL):
        path = tmp_path / "small.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refusal(path, *overrides):
    with pytest.raises(UsageError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_that_comes_with_rolesum_loads_by_path_and_by_name(path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe == load_recipe(path.stem)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_dumped_recipe_loads_as_the_same_recipe(path):
    recipe = load_recipe(path)
    assert parse_recipe(yaml.safe_load(dump_recipe(recipe)), "dumped") == recipe


def test_a_recipe_that_names_no_base_trains_the_default_model(recipe_file):
    assert load_recipe(recipe_file()).base == DEFAULT_MODEL


def test_the_folder_of_recipes_is_not_empty():
    assert "sample" in [path.stem for path in RECIPES]


def test_what_the_recipe_does_not_say_is_the_default(recipe_file):
    recipe = load_recipe(recipe_file())
    assert recipe.roles == ("overall", "user", "agent")
    assert (recipe.neftune.alpha, recipe.data.validation, recipe.training.seed) == (5.0, None, 1)


def test_set_wins_over_the_recipe_and_the_recipe_over_the_default(recipe_file):
    path = recipe_file()
    assert load_recipe(path).training.epochs == 3
    assert load_recipe(path, ["training.epochs=2"]).training.epochs == 2


def test_a_later_set_wins_over_an_earlier_one(recipe_file):
    assert load_recipe(recipe_file(), ["training.epochs=2", "training.epochs=5"]).training.epochs == 5


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        ("training.epochs=2", lambda recipe: recipe.training.epochs, 2),
        ("training.learning_rate=5e-4", lambda recipe: recipe.training.learning_rate, 5e-4),
        ("training.learning_rate=0.001", lambda recipe: recipe.training.learning_rate, 1e-3),
        ("training.max_length=null", lambda recipe: recipe.training.max_length, None),
        ("training.long_dialogues=drop-middle", lambda recipe: recipe.training.long_dialogues, "drop-middle"),
        ("neftune.alpha=0", lambda recipe: recipe.neftune.alpha, 0.0),
        ("roles=[user, 客服]", lambda recipe: recipe.roles, ("user", "agent")),
        ("lora.targets=[q_proj, v_proj]", lambda recipe: recipe.lora.targets, ("q_proj", "v_proj")),
        ("data.train.path=a=b.jsonl", lambda recipe: recipe.data.train.path, "a=b.jsonl"),
        ('data.train.skip=["13"]', lambda recipe: recipe.data.train.skip, ("13",)),
        ("data.validation.path=val.jsonl", lambda recipe: recipe.data.validation.path, "val.jsonl"),
        ("note=两轮", lambda recipe: recipe.note, "两轮"),
        ("name=1e3", lambda recipe: recipe.name, "1e3"),  # a text for YAML 1.1, and so for a key that wants one
    ],
)
def test_a_set_value_gets_its_keys_type(recipe_file, override, read, value):
    found = read(load_recipe(recipe_file(), [override]))
    assert found == value
    assert type(found) is type(value)


def test_set_opens_a_section_that_the_recipe_leaves_empty(recipe_file):
    dumped = recipe_file(dump_recipe(load_recipe(recipe_file())))
    assert "validation: null" in dumped.read_text(encoding="utf-8")
    assert load_recipe(dumped, ["data.validation.path=val.jsonl"]).data.validation.path == "val.jsonl"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("training.epochs", "has no value"),
        ("name.first=1", "name is not a section"),
        ("name.first.second=1", "first cannot hold second"),
        ("roles=[user", "the value is not YAML"),
        ("training=3", "training"),
        ("training.epochs=two", "training.epochs"),
        ("training.epochs=0", "greater than or equal to 1"),
        ("training.schedule=step", "'cosine', 'linear' or 'constant'"),
    ],
)
def test_a_set_that_cannot_be_applied_is_a_usage_error(recipe_file, override, told):
    assert told in refusal(recipe_file(), override)


@pytest.mark.parametrize(
    ("override", "key", "hint"),
    [
        ("bsae=x", "bsae", "base"),
        ("data.trian.path=x", "data.trian", "train"),
        ("data.train.pth=x", "data.train.pth", "path"),
        ("data.test.lmit=3", "data.test.lmit", "limit"),  # a section that may be absent
        ("lora.rnak=8", "lora.rnak", "rank"),
        ("training.epohcs=1", "training.epohcs", "epochs"),
        ("custom_roles.interpreter.aliasses=[x]", "custom_roles.interpreter.aliasses", "aliases"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one_at_any_depth(recipe_file, override, key, hint):
    told = refusal(recipe_file(), override)
    assert f'unknown key "{key}"' in told
    assert f'did you mean "{hint}"?' in told


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["bsae=x"], "bsae"),
        (["data.trian.path=x"], "data.trian.path"),
        (["training.epochs=2", "training.epochs=0", "training.seed=3"], "training.epochs"),
        (["data.train={pth: x}"], "data.train"),
        (["roles=[usr]"], "roles"),
    ],
)
def test_what_set_makes_wrong_is_told_of_set_and_not_of_the_file(recipe_file, overrides, key):
    with pytest.raises(UsageError) as caught:
        load_recipe(recipe_file(), overrides)
    assert {problem.where for problem in caught.value.problems} == {f"--set {key}"}


def test_what_the_file_has_wrong_is_told_of_the_file_beside_what_set_makes_wrong(recipe_file):
    path = recipe_file(SMALL + "  seeed: 1\n  schedule: step\n")
    with pytest.raises(UsageError) as caught:
        load_recipe(path, ["training.warmup=2", "training.schedule=step"])
    places = {problem.what.split()[-1]: problem.where for problem in caught.value.problems}
    assert places == {'"training.seeed"': str(path), "'step'": str(path), "2": "--set training.warmup"}


def test_all_problems_of_a_recipe_are_told_at_once_with_the_file(recipe_file):
    path = recipe_file("data:\n  train: {pth: a}\ntraining: {epochs: 0}\n")
    with pytest.raises(UsageError) as caught:
        load_recipe(path)
    told = [problem.what for problem in caught.value.problems]
    assert {problem.where for problem in caught.value.problems} == {str(path)}
    for key in ('"name" is missing', '"data.train.path" is missing', '"data.train.pth"', "training.epochs"):
        assert any(key in what for what in told), key


def test_an_unknown_role_is_refused_with_the_nearest_one(recipe_file):
    told = refusal(recipe_file(), "roles=[usr]")
    assert 'unknown role "usr"' in told
    assert 'did you mean "user"?' in told


def test_no_role_at_all_is_refused(recipe_file):
    assert "roles" in refusal(recipe_file(), "roles=[]")


def test_a_role_named_twice_by_different_names_is_trained_once(recipe_file):
    assert load_recipe(recipe_file(), ["roles=[user, 用户, customer]"]).roles == ("user",)


def test_custom_roles_can_be_trained_and_hand_on_their_aliases_and_definitions(recipe_file):
    text = SMALL + (
        "roles: [overall, 翻译]\n"
        "custom_roles:\n"
        "  interpreter: {aliases: [翻译, Translator], definition: Who renders the one's words to the other.}\n"
    )
    recipe = load_recipe(recipe_file(text))
    assert recipe.roles == ("overall", "interpreter")
    assert recipe.aliases == {"interpreter": ("翻译", "Translator")}
    assert recipe.definitions == {"interpreter": "Who renders the one's words to the other."}


def test_a_custom_role_cannot_take_a_built_in_name(recipe_file):
    assert "redefines agent" in refusal(recipe_file(), "custom_roles.agent.aliases=[x]")


def test_a_missing_recipe_names_the_ones_that_come_with_rolesum(tmp_path):
    assert f"no recipe at {tmp_path / 'none.yaml'}" in refusal(tmp_path / "none.yaml")
    assert 'did you mean "sample"?' in refusal("sampel")


def test_broken_yaml_is_told_with_its_line(recipe_file):
    path = recipe_file("name: small\ndata:\n  train: {path: a\nroles: [user]\n")
    assert f"{path}:4: broken YAML" in refusal(path)


def test_a_recipe_that_is_no_mapping_or_no_text_is_refused(recipe_file, tmp_path):
    assert "not a recipe" in refusal(recipe_file("- a\n- b\n"))
    assert "not a recipe" in refusal(recipe_file(""))
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"name: \xff\xfe")
    assert "not a UTF-8 text" in refusal(binary)


@pytest.mark.parametrize(
    "change",
    [
        {"base": ""},
        {"name": ""},
        {"name": ".."},
        {"name": "a/b"},
        {"name": "a\0b"},
        {"name": "long" * 30},
        {"lora": {"rank": True}},
        {"lora": {"alpha": 1e300}},
        {"lora": {"targets": []}},
        {"neftune": {"alpha": float("inf")}},
        {"training": {"weight_decay": float("inf")}},
        {"training": {"epochs": 2.5}},
        {"custom_roles": {"boss": {"aliases": ["User"]}}},
        {"custom_roles": {"boss": {}, "Boss": {}}},
        {"custom_roles": {"boss": {"aliases": ["chief"]}, "owner": {"aliases": ["chief"]}}},
    ],
    ids=str,
)
def test_values_that_would_do_something_else_than_they_say_are_refused(change):
    raw = {"name": "one", "data": {"train": {"path": "x.jsonl"}}}
    parse_recipe(raw, "here")
    with pytest.raises(UsageError, match="here"):
        parse_recipe(raw | change, "here")


def test_a_bundled_recipe_on_other_data_is_named_after_them_and_notes_its_own_name():
    recipe = load_recipe("dialogues-smollm2-135m", ["data.train.path=calls/support.en.jsonl"])
    assert recipe.name == "support.en"
    assert recipe.note == "Trained on calls/support.en.jsonl by the recipe dialogues-smollm2-135m."
    assert (recipe.data.validation, recipe.data.test) == (None, None)  # those of rolesum-dialogues say nothing of it
    assert recipe.roles == load_recipe("dialogues-smollm2-135m").roles


@pytest.mark.parametrize(
    "overrides",
    [
        ["data.train={path: mine.jsonl}", "data.test={path: held.jsonl}", "name=calls", "note=ours"],
        ["name=calls", "data.train.path=mine.jsonl", "data.test.path=held.jsonl", "note=ours"],
        ["data={train: {path: mine.jsonl}, test: {path: held.jsonl}}", "note=ours", "name=calls"],
    ],
)
def test_what_is_set_beside_other_data_stays(overrides):
    recipe = load_recipe("sample", overrides)
    assert (recipe.name, recipe.note) == ("calls", "ours")
    assert recipe.data.test is not None and recipe.data.test.path == "held.jsonl"


@pytest.mark.parametrize(
    ("name", "override", "expected"),
    [
        ("sample", "data.train.limit=3", "sample"),
        ("sample", "data.train.path=sample:dialogues-en-train", "sample"),  # its own
        ("sample", "data.train.path=sample:en-train", "en-train"),
        ("smollm2-samsum", "data.train.path=../samsum/train.json", "smollm2-samsum"),  # the same set, elsewhere
    ],
)
def test_a_recipe_keeps_its_name_on_its_own_data_wherever_they_lie(name, override, expected):
    recipe = load_recipe(name, [override])
    assert recipe.name == expected
    assert (recipe.data.test is None) is (expected == "en-train")


def test_a_recipe_of_the_users_own_keeps_its_name_and_test_on_other_data(recipe_file):
    text = SMALL.replace("train.jsonl", "sample:en-train").replace("test.jsonl", "sample:en-test")
    recipe = load_recipe(recipe_file(text), ["data.train.path=mine.jsonl"])
    assert recipe.name == "small" and recipe.data.test.path == "sample:en-test"


@pytest.mark.parametrize(
    ("override", "what", "fix"),
    [
        ("data.train.columns={idd: call}", 'a dialogue has no field "idd"', 'did you mean "id"?'),
        ("data.train.columns={summary.usr: gist}", 'unknown role "usr"', 'did you mean "user"?'),
        ("data.train.columns={dialogue: a, text: b}", "a row is either a turn or a whole dialogue", "map dialogue"),
        ("data.train.columns={id: 5}", "valid string, not 5", "rolesum train sample --dry-run"),
        ("data.train.json_path={turns: talk}", "no path for text", "--json-path turns="),
        ("data.train.speakers={Anna: usr}", 'unknown role "usr"', 'did you mean "user"?'),
        ("data.train.encoding=utf9", 'unknown encoding "utf9"', "utf-8"),
        ("data.train.unknown_speaker=guess", '"guess" is not a rule', "write refuse"),
        ("data.test.format=cvs", 'unknown format "cvs"', 'did you mean "csv"?'),
    ],
)
def test_how_data_are_read_is_checked_before_they_are_at_the_key_that_says_it(recipe_file, override, what, fix):
    with pytest.raises(UsageError) as caught:
        load_recipe(recipe_file(), [override])
    (problem,) = caught.value.problems
    key = override.partition("=")[0]
    assert problem.where in (f"--set {key}", str(recipe_file())) and key in problem.what
    assert what in problem.what and fix in problem.fix


def test_columns_and_paths_of_one_file_exclude_each_other(recipe_file):
    told = refusal(
        recipe_file(SMALL.replace("{path: train.jsonl}", "{path: a, columns: {id: b}, json_path: {turns: c, text: d}}"))
    )
    assert "data.train.json_path: paths are mapped in json only" in told


def test_custom_roles_may_have_columns_and_speakers(recipe_file):
    mapped = [
        "custom_roles={seller: {}}",
        "data.train.columns={summary.seller: gist}",
        "data.train.speakers={Jo: seller}",
    ]
    assert load_recipe(recipe_file(), mapped).data.train.read_options().columns == {"summary.seller": "gist"}
    assert 'unknown role "seller"' in refusal(recipe_file(), *mapped[1:])
