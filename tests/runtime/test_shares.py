"""Who holds what: from one config to the next, until the last exchange of the last one is over."""

from collections.abc import Callable

import pytest

from gateway.runtime.shares import Share, Shares


class Thing:
    """Counts how often it was let go."""

    def __init__(self) -> None:
        self.retired = 0

    def retire(self) -> None:
        self.retired += 1


Serve = Callable[..., tuple[Share, list[Thing]]]


@pytest.fixture
def shares() -> Shares:
    return Shares()


@pytest.fixture
def serve(shares: Shares) -> Serve:
    """`serve("a", "b")`: a config that takes these keys and serves from now on, and what it took."""

    def one(*keys: str) -> tuple[Share, list[Thing]]:
        share = shares.next()
        things = [share.take(key, Thing) for key in keys]
        shares.use(share)
        return share, things

    return one


def test_what_has_the_same_key_goes_on(serve: Serve) -> None:
    _, (a, b) = serve("a", "b")
    share, (again, c) = serve("a", "c")
    assert again is a
    assert share.fresh == [c]
    assert (a.retired, b.retired, c.retired) == (0, 1, 0)


def test_a_key_is_made_once(shares: Shares) -> None:
    share = shares.next()
    assert share.take("a", Thing) is share.take("a", Thing)
    assert len(share.fresh) == 1


def test_what_left_ends_with_the_last_exchange_that_may_use_it(serve: Serve) -> None:
    first, (a,) = serve("a")
    first.enter()
    second, _ = serve("a")
    second.enter()
    serve("b")
    first.leave()
    assert a.retired == 0
    second.leave()
    assert a.retired == 1


def test_what_comes_back_while_exchanges_use_it_is_the_same_and_stays(serve: Serve) -> None:
    first, (a,) = serve("a")
    first.enter()
    serve()
    _, (again,) = serve("a")
    first.leave()
    assert again is a
    assert a.retired == 0


def test_a_config_that_is_never_used_takes_nothing_with_it_but_what_is_its_own(shares: Shares, serve: Serve) -> None:
    _, (a,) = serve("a")
    never = shares.next()
    taken, own = never.take("a", Thing), never.take("b", Thing)
    shares.discard(never)
    shares.discard(never)
    assert taken is a
    assert (a.retired, own.retired) == (0, 1)


def test_what_is_offered_to_a_config_being_built_does_not_end_before_it_has_chosen(
    shares: Shares, serve: Serve
) -> None:
    first, (a, b) = serve("a", "b")
    first.enter()
    serve()
    building = shares.next()
    first.leave()
    assert (a.retired, b.retired) == (0, 0)
    assert building.take("a", Thing) is a
    shares.use(building)
    assert (a.retired, b.retired) == (0, 1)
