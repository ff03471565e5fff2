"""Up or down by active checks, as HAProxy's `rise` and `fall` (configuration manual, section 5.2)."""


class Probes:
    """Counts the checks of one target that gave the same result in a row.

    Until the first result the target counts as up, and that result decides alone: HAProxy too begins with a target
    that is up and one failure away from down.
    """

    __slots__ = ("_fall", "_rise", "_run", "known", "up")

    def __init__(self, rise: int, fall: int) -> None:
        """rise: good checks in a row that bring it up again. fall: bad ones that take it down."""
        self._rise = rise
        self._fall = fall
        self._run = 0
        """Results in a row that speak against `up`."""
        self.up = True
        self.known = False
        """Whether there was a result at all."""

    def note(self, passed: bool) -> bool:
        """Take one result; True if the target is another than before (up or down)."""
        needed = (self._fall if self.up else self._rise) if self.known else 1
        self.known = True
        self._run = 0 if passed == self.up else self._run + 1
        if self._run < needed:
            return False
        self._run = 0
        self.up = passed
        return True

    def __repr__(self) -> str:
        return f"<Probes {'up' if self.up else 'down'} {self._run} against>"
