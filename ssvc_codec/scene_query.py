"""The language of `ssvc query`: which frames hold which objects.

    expression  = and-term { ("|" | "or") and-term }
    and-term    = not-term { ("&" | "and") not-term }
    not-term    = ("!" | "not") not-term | atom
    atom        = "(" expression ")" | "count" "(" what ")" comparison number | what
    what        = class | "#" track id | "*"
    class       = words, as `traffic light`; or in quotes; or the number of a class
    comparison  = ">=" | "<=" | ">" | "<" | "=" | "==" | "!="

A `what` alone is true in frames that hold at least one. `*` is any object. Case does not matter.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from .bitstream import ClassTable, SceneObject
from .selection import ResolvedSelection, Selection

__all__ = ["Condition", "SceneQuery", "parse_query"]

Condition = Callable[[Sequence[SceneObject]], bool]

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<quoted>\"[^\"]*\"|'[^']*')|(?P<track>\#\d+)|(?P<compare>>=|<=|==|!=|>|<|=)"
    r"|(?P<sign>&&?|\|\|?|!|\(|\)|\*)|(?P<word>[^\s\"'&|!()<>=*\#]+))",
)
_WORDS_OF_THE_LANGUAGE: Final = {"and": "&", "or": "|", "not": "!"}
_COMPARISONS: Final[dict[str, Callable[[int, int], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}
_MAX_DEPTH: Final = 50


class _Node(Protocol):
    def bind(self, classes: ClassTable | None) -> Condition: ...
    def words(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class _Count:
    """How many objects of one kind there are."""

    word: str | None  # as Selection takes it; None for any object
    compare: Callable[[int, int], bool] = operator.ge
    number: int = 1

    def bind(self, classes: ClassTable | None) -> Condition:
        if classes is None:
            return lambda _objects: self.compare(0, self.number)
        wanted: ResolvedSelection = Selection(None if self.word is None else (self.word,)).resolve(classes)
        return lambda objects: self.compare(sum(map(wanted.wants, objects)), self.number)

    def words(self) -> tuple[str, ...]:
        return () if self.word is None else (self.word,)


@dataclass(frozen=True, slots=True)
class _Not:
    part: _Node

    def bind(self, classes: ClassTable | None) -> Condition:
        condition = self.part.bind(classes)
        return lambda objects: not condition(objects)

    def words(self) -> tuple[str, ...]:
        return self.part.words()


@dataclass(frozen=True, slots=True)
class _Join:
    """All parts, or any of them."""

    parts: tuple[_Node, ...]
    is_and: bool

    def bind(self, classes: ClassTable | None) -> Condition:
        conditions = [part.bind(classes) for part in self.parts]
        join = all if self.is_and else any
        return lambda objects: join(condition(objects) for condition in conditions)

    def words(self) -> tuple[str, ...]:
        return tuple(word for part in self.parts for word in part.words())


@dataclass(frozen=True, slots=True)
class SceneQuery:
    """A parsed expression."""

    root: _Node

    @property
    def words(self) -> tuple[str, ...]:
        """Every class and track that it names, as written, in order."""
        return tuple(dict.fromkeys(self.root.words()))

    def bind(self, classes: ClassTable | None) -> Condition:
        """The expression for the objects of a frame, given what its classes are called; None: for a frame without any.

        Raises ValueError for a class that the table does not have.
        """
        return self.root.bind(classes)


def parse_query(text: str) -> SceneQuery:
    """The expression, by the grammar above. Raises ValueError that says where it goes wrong."""
    parser = _Parser(text)
    root = parser.expression()
    if parser.token.kind != "end":
        raise parser.error("& or | or the end")
    return SceneQuery(root)


class _Token(NamedTuple):
    kind: str  # quoted, track, compare, sign, word, end
    text: str
    column: int  # from 1


class _Parser:
    """Recursive descent; one method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._place = 0
        self._depth = 0

    @property
    def token(self) -> _Token:
        return self._tokens[self._place]

    def error(self, expected: str) -> ValueError:
        found = repr(self.token.text) if self.token.text else "the end"
        return ValueError(f"query {self._text!r}, column {self.token.column}: {expected} is expected, found {found}")

    def expression(self) -> _Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError(f"query: parentheses are nested more than {_MAX_DEPTH} deep")
        parts = [self._and_term()]
        while self._takes("|"):
            parts.append(self._and_term())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else _Join(tuple(parts), is_and=False)

    def _and_term(self) -> _Node:
        parts = [self._not_term()]
        while self._takes("&"):
            parts.append(self._not_term())
        return parts[0] if len(parts) == 1 else _Join(tuple(parts), is_and=True)

    def _not_term(self) -> _Node:
        n_signs = 0
        while self._takes("!"):
            n_signs += 1
        part = self._atom()
        return _Not(part) if n_signs % 2 else part

    def _atom(self) -> _Node:
        if self._takes("("):
            inner = self.expression()
            self._needs(")")
            return inner
        if self.token.text.casefold() == "count" and self._tokens[self._place + 1].text == "(":
            return self._count()
        return _Count(self._what())

    def _count(self) -> _Node:
        self._place += 2
        word = self._what()
        self._needs(")")
        if self.token.kind != "compare":
            raise self.error("a comparison such as >= 3")
        compare = _COMPARISONS[self.token.text]
        self._place += 1
        if not (self.token.kind == "word" and self.token.text.isascii() and self.token.text.isdecimal()):
            raise self.error("a number")
        number = int(self.token.text)
        self._place += 1
        return _Count(word, compare, number)

    def _what(self) -> str | None:
        token = self.token
        if self._takes("*"):
            return None
        if token.kind in ("quoted", "track"):
            self._place += 1
            return token.text
        words: list[str] = []
        while self.token.kind == "word":
            words.append(self.token.text)
            self._place += 1
        if not words:
            raise self.error("a class, #TRACK, count(..) or a parenthesis")
        return " ".join(words)

    def _takes(self, sign: str) -> bool:
        is_there = self.token.kind == "sign" and self.token.text == sign
        self._place += is_there
        return is_there

    def _needs(self, sign: str) -> None:
        if not self._takes(sign):
            raise self.error(sign)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    place, end = 0, len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            column = place + len(text[place:]) - len(text[place:].lstrip()) + 1
            raise ValueError(f"query {text!r}, column {column}: {text[column - 1]!r} has no meaning here")
        kind = match.lastgroup or ""
        found = match[kind]
        column, place = match.start(kind) + 1, match.end()
        if kind == "quoted":
            found = found[1:-1]
        elif kind == "sign":
            found = found if found in "()" else found[0]
        elif kind == "word" and found.casefold() in _WORDS_OF_THE_LANGUAGE:
            kind, found = "sign", _WORDS_OF_THE_LANGUAGE[found.casefold()]
        tokens.append(_Token(kind, found, column))
    return [*tokens, _Token("end", "", end + 1)]
