"""A memo is bounded, and is renewed only when it is full."""

from gateway.core.memo import Memo


def test_it_remembers_up_to_its_size() -> None:
    memo: Memo[int, str] = Memo(3)
    for key in range(10):
        memo.keep(key, str(key))
    assert memo.found == {0: "0", 1: "1", 2: "2"}


def test_it_is_emptied_only_when_there_was_no_room_for_more() -> None:
    memo: Memo[int, str] = Memo(3)
    memo.keep(0, "0")
    memo.keep(1, "1")
    memo.renew()
    assert memo.found == {0: "0", 1: "1"}
    memo.keep(2, "2")
    memo.renew()
    assert memo.found == {}
    memo.keep(3, "3")
    assert memo.found == {3: "3"}
