"""The digest of things that refer to each other: the same in whatever order, and by whatever path, they were found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final, TypeAlias

#: A text, or the number of another thing that stands there.
Piece: TypeAlias = str | int
#: What has no order.
Bag: TypeAlias = list[tuple[Piece, ...]]
#: What a thing is made of, piece by piece.
Thing: TypeAlias = Sequence[Piece | Bag]

#: So many pieces are looked at, those that stand in a circle several times; it takes up to a second.
MOST_PIECES: Final = 250_000


class Budget:
    """How many pieces may still be looked at."""

    def __init__(self) -> None:
        self._left = MOST_PIECES

    def spend(self, pieces: int) -> None:
        """Take so many of it.

        :raises ValueError: if there are not so many left.
        """
        self._left -= pieces
        if self._left < 0:
            raise ValueError(f"there are more than {MOST_PIECES} values in it")


def digest_of(things: Sequence[Thing], *, budget: Budget) -> str:
    """What tells the first of ``things`` from others that are made otherwise, if all can be reached from it.

    A thing that does not lead to itself has the digest of its pieces. The others are told apart round by round, by the
    digests of their pieces in the round before, until a round tells no more of them apart. So two that look alike from
    everywhere are alike, be they one thing or several.

    :raises ValueError: if that is too much.
    """
    digests = [""] * len(things)
    circling = _those_left(things, digests)
    apart, more = 0, 1 if circling else 0
    while more > apart:
        budget.spend(sum(map(_size, (things[each] for each in circling))))
        found = [_digest(things[each], digests) for each in circling]
        for each, digest in zip(circling, found, strict=True):
            digests[each] = digest
        apart, more = more, len(set(found))
    return _hashed(" ".join([digests[0], *sorted({digests[each] for each in circling})]))


def _those_left(things: Sequence[Thing], digests: list[str]) -> list[int]:
    """Fill in the digest of each thing that leads to no circle; the others are left."""
    parents: list[list[int]] = [[] for _ in things]
    waits_for = [0] * len(things)
    for number, thing in enumerate(things):
        inside = set(_inside(thing))
        waits_for[number] = len(inside)
        for each in inside:
            parents[each].append(number)
    ready = [number for number, waits in enumerate(waits_for) if not waits]
    while ready:
        number = ready.pop()
        digests[number] = _digest(things[number], digests)
        for parent in parents[number]:
            waits_for[parent] -= 1
            if not waits_for[parent]:
                ready.append(parent)
    return [number for number, waits in enumerate(waits_for) if waits]


def _inside(thing: Thing) -> Iterator[int]:
    for part in thing:
        if isinstance(part, int):
            yield part
        elif isinstance(part, list):
            yield from (piece for pieces in part for piece in pieces if isinstance(piece, int))


def _size(thing: Thing) -> int:
    return sum(len(part) if isinstance(part, list) else 1 for part in thing)


def _digest(thing: Thing, digests: Sequence[str]) -> str:
    def written(piece: Piece) -> str:
        return piece if isinstance(piece, str) else f"#{digests[piece]}"

    def sorted_out(bag: Bag) -> str:  # the order of what has none differs from process to process
        return f"{{{', '.join(sorted(': '.join(map(written, pieces)) for pieces in bag))}}}"

    return _hashed(" ".join(sorted_out(part) if isinstance(part, list) else written(part) for part in thing))


def _hashed(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
