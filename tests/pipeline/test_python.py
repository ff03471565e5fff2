"""Finding the users' Python, and saying what is wrong with it."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.pipeline.python import Code, CodeError, find, know_file, load, load_handler, load_plugin

SHOP = """
import functools
import json
counted = []
counted.append(1)

class Price:
    def __init__(self, cents): self.cents = cents

def quote(request): return Price(5)
async def quote_soon(request): return {}
async def pieces(request):
    yield b"a"
def nothing(): pass
limit = 3
twice = functools.partial(quote)

class Caller:
    async def __call__(self, request): return None
caller = Caller()

class Nested:
    @staticmethod
    def inner(request): return None

class Timer:
    made = 0
    def __init__(self): Timer.made += 1
    def on_request(self, request): return None
    async def on_response(self, request, response): return None

class OnlyTold:
    def on_response(self, request, response): return None

class Neither: pass

class NeedsMore:
    def __init__(self, key): pass
    def on_request(self, request): return None

class WrongTold:
    def on_response(self, response): return None
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file of a module `shop`."""
    file = tmp_path / "shop.py"
    file.write_text(SHOP)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return str(file)


def test_a_file_is_imported_once_under_a_name_of_its_own(shop: str) -> None:
    code = load(f"{shop}:quote")
    assert code.label == "shop.py:quote"
    assert not code.is_async
    assert code is load(f"{shop}:quote")
    assert code.function.__module__ == know_file(shop) != "shop"
    load(f"{shop}:quote_soon")
    assert find(f"{shop}:counted") == [1]


def test_two_files_of_one_name_are_two_modules(shop: str, tmp_path: Path) -> None:
    other = tmp_path / "other" / "shop.py"
    other.parent.mkdir()
    other.write_text("def quote(request): return 1")
    assert load(f"{other}:quote").function(None) == 1
    assert load(f"{shop}:quote").function(None).cents == 5


def test_a_file_finds_what_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "prices_beside.py").write_text("CENTS = 7")
    (tmp_path / "uses.py").write_text("from prices_beside import CENTS\ndef quote(request): return CENTS")
    assert load(f"{tmp_path}/uses.py:quote").function(None) == 7


def test_a_module_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_package").mkdir()
    (tmp_path / "shop_package" / "__init__.py").write_text("")
    (tmp_path / "shop_package" / "price.py").write_text("class Quotes:\n    def one(request): return 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    code = load("shop_package.price:Quotes.one")
    assert code.function(None) == 1
    assert code.label == "shop_package.price:Quotes.one"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("quote", False), ("quote_soon", True), ("pieces", True), ("twice", False), ("caller", True)],
)
def test_async_is_told_from_plain(shop: str, name: str, expected: bool) -> None:
    assert load(f"{shop}:{name}").is_async is expected


def test_what_a_file_defines_is_pickled_by_reference(shop: str) -> None:
    made = load(f"{shop}:quote").function(None)
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is type(made)


def test_another_process_knows_the_same_names(shop: str) -> None:
    data = pickle.dumps(load(f"{shop}:quote").function(None))
    program = (
        "import pickle, sys; from gateway.pipeline.python import know_file; know_file(sys.argv[1]);"
        "print(pickle.loads(bytes.fromhex(sys.argv[2])).cents)"
    )
    done = subprocess.run([sys.executable, "-c", program, shop, data.hex()], capture_output=True, text=True, check=True)
    assert done.stdout == "5\n"


def test_a_class_of_a_plugin_is_made_once(shop: str) -> None:
    plugin = load_plugin(f"{shop}:Timer")
    assert plugin is load_plugin(f"{shop}:Timer")
    assert find(f"{shop}:Timer").made == 1
    assert isinstance(plugin.on_request, Code)
    assert not plugin.on_request.is_async
    assert isinstance(plugin.on_response, Code)
    assert plugin.on_response.is_async
    assert plugin.on_request.value is plugin.on_response.value
    assert plugin.on_request.label == "shop.py:Timer.on_request"


def test_a_plugin_may_be_a_function_or_only_be_told(shop: str) -> None:
    assert load_plugin(f"{shop}:quote").on_response is None
    assert load_plugin(f"{shop}:OnlyTold").on_request is None


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("quote", "'quote' does not name a function: write package.module:name or file.py:name"),
        ("shop:", "'shop:' does not name a function"),
        ("no_such_package.price:quote", "there is no module no_such_package; it is looked for in the directory"),
        ("json.nothing:quote", "there is no module json.nothing;"),
        ("{dir}/gone.py:quote", "there is no file {dir}/gone.py"),
        ("{dir}/shop.py:qoute", "shop.py has no qoute (did you mean quote?)"),
        ("{dir}/shop.py:Nested.iner", "Nested has no iner (did you mean inner?)"),
        ("{dir}/shop.py:limit", "limit is not callable, it is of type int"),
        ("{dir}/imports.py:f", "ModuleNotFoundError: No module named 'no_such_thing' ({dir}/imports.py:2)"),
        ("{dir}/broken.py:f", "importing it failed: SyntaxError: '(' was never closed ({dir}/broken.py:1)"),
        ("{dir}/raises.py:f", "importing it failed: KeyError: 'STRIPE_KEY' ({dir}/raises.py:3)"),
        ("{dir}/leaves.py:f", "importing it failed: SystemExit: 3 ({dir}/leaves.py:1)"),
    ],
)
def test_what_cannot_be_loaded_is_said_on_one_line(shop: str, tmp_path: Path, run: str, message: str) -> None:
    (tmp_path / "imports.py").write_text("\nimport no_such_thing")
    (tmp_path / "broken.py").write_text("def f(request:\n  pass")
    (tmp_path / "raises.py").write_text("key = {}\ndef find():\n    return key['STRIPE_KEY']\nfind()")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)")
    with pytest.raises(CodeError) as caught:
        load(run.format(dir=tmp_path))
    assert message.format(dir=tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Timer", "Timer is a class; a handler is a function that takes the request"),
        ("nothing", "nothing() cannot be called with the request, as it will be"),
    ],
)
def test_a_handler_that_cannot_be_called_is_refused(shop: str, name: str, message: str) -> None:
    with pytest.raises(CodeError, match=message.replace("(", "\\(").replace(")", "\\)")):
        load_handler(f"{shop}:{name}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Neither", "the class Neither has neither on_request nor on_response"),
        ("NeedsMore", r"NeedsMore\(\) failed: TypeError: .*missing 1 required positional argument: 'key'"),
        ("WrongTold", r"on_response\(response\) cannot be called with the request and the response, as it will be"),
        ("limit", "limit is neither callable nor has it on_request or on_response"),
        ("nothing", r"nothing\(\) cannot be called with the request"),
    ],
)
def test_a_plugin_that_cannot_be_called_is_refused(shop: str, name: str, message: str) -> None:
    with pytest.raises(CodeError, match=message):
        load_plugin(f"{shop}:{name}")


def test_a_name_that_failed_can_be_loaded_when_it_was_mended(tmp_path: Path) -> None:
    file = tmp_path / "mended.py"
    file.write_text("raise RuntimeError('not yet')")
    with pytest.raises(CodeError, match=r"RuntimeError: not yet .*mended.py:1"):
        load(f"{file}:f")
    file.write_text("def f(request): return 'mended now'")
    assert load(f"{file}:f").function(None) == "mended now"
