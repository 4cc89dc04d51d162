# SPDX-License-Identifier: GPL-2.0-only
"""Sees that no safe function of kapi takes what only unsafe code can vouch for.

Usage: signatures.py [--without-unsafe] FOLDER

Safe code may have any number and any raw pointer. So a function that it can call, a method of a trait that it can
use, and a struct that it can fill in, must not

- take a raw pointer, or let a closure return one,
- take a number that is called a physical address or a page frame number, in any form,
- take numbers and make a value of a type with `# Invariants` of them, or change such a value by them,
- take numbers and have unsafe code, whatever the numbers are called:

a witness type is taken instead, or the function is unsafe. A value of a type whose numbers safe code can set, by a
field or by a function without unsafe code, is as good as these numbers. A function has unsafe code also if a private
function of its file has that it calls. What gives away a function pointer or a closure is looked at as that
function is, and a macro may not make functions. Aliases are resolved, and so are the bounds of generics. Prints each
breach as FILE:LINE: TEXT and fails.

With --without-unsafe, the word `unsafe` is taken off each unsafe function that other files can call, in turn. Prints
each for which no breach is found then, and fails.

signatures.toml has the exceptions, with a reason for each. One that is not needed is a breach.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_COMMENT = re.compile(r'//[^\n]*|"(?:[^"\\]|\\.)*"')
_PUBLIC = r"pub(?:\((?:crate|super|in [\w:]+)\))?\s+"
_FN = re.compile(rf"(?P<public>{_PUBLIC})?(?P<words>(?:(?:const|async|unsafe|extern \"\")\s+)*)fn\s+(?P<name>\w+)")
_TRAIT = re.compile(rf"{_PUBLIC}(?P<unsafe>unsafe\s+)?trait\s+(?P<name>\w+)[^{{;]*\{{")
_IMPL = re.compile(r"^[ \t]*(?:unsafe\s+)?impl\b(?P<head>[^{;]*)\{", re.M)
_FIELD = re.compile(rf"^\s*{_PUBLIC}(?P<param>\w+\s*:\s*[^\n]*?),?\s*$", re.M)
_TUPLE = re.compile(rf"\bstruct\s+(?P<name>\w+)[^(;{{]*\(")
_ALIAS = re.compile(rf"^(?:{_PUBLIC})?type\s+(?P<name>\w+)(?:<[^=;]*>)?\s*=\s*(?P<target>[^;]+);", re.M)
_RENAMED = re.compile(r"\b(?P<target>\w+)\s+as\s+(?P<name>[A-Z]\w*)\s*[,;}]")
_INVARIANTS = re.compile(
    r"^[ \t]*/// # Invariants\n(?:[ \t]*(?:///|#\[|//)[^\n]*\n)*?[ \t]*(?:pub[^\n]*? )?(?:struct|enum|union) (\w+)",
    re.M,
)
_PHYSICAL = re.compile(r"(^|_)(phys(ical)?|paddr|pfn)s?(_addr(ess)?(es)?)?$|^(phys|pfn|paddr)s?_")
_NUMBER = re.compile(r"\b([ui](8|16|32|64|128|size)|c_u?(char|short|int|long|longlong)|NonZero\w*|\w+_t|PhysAddr|ResourceSize|DmaAddress)\b")
_POINTER = re.compile(r"\*\s*(const|mut)\b|\bNonNull\b|\bAtomicPtr\b|\bphys_addr_t\b")
_STRUCT = re.compile(r"\bstruct\s+(?P<name>\w+)[^({;]*[({]")
_CONSTANT = re.compile(rf"^[ \t]*{_PUBLIC}(?:const|static)\s+(?P<name>\w+)\s*:(?P<kind>[^=;]*)", re.M)
_MACRO = re.compile(r"\bmacro_rules!\s*(?P<name>\w+)\s*\{")
_CALL = re.compile(r"\b(?:Fn|FnMut|FnOnce|fn)\s*\(")


def code_of(text: str) -> str:
    """The text without comments and what is in quotes; places stay the same."""

    def blank(match: re.Match[str]) -> str:
        quoted = match[0].startswith('"')
        return '""'.ljust(len(match[0])) if quoted else " " * len(match[0])

    return _COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]) if "\n" in match[0] else blank(match), text)


def enclosed(code: str, start: int, pair: str) -> int:
    """Where what opens at `start` closes. An arrow closes nothing."""
    depth = 0
    for found in re.finditer(rf"->|[{re.escape(pair)}]", code[start:]):
        if found[0] != "->":
            depth += 1 if found[0] == pair[0] else -1
        if not depth:
            return start + found.start()
    return len(code)


def parts(text: str) -> Iterator[str]:
    """What commas separate, but for commas in brackets."""
    depth, part = 0, ""
    for place, char in enumerate(text):
        arrow = char == ">" and text[place - 1 : place] == "-"
        depth += (char in "<([") - (char in ">)]" and not arrow)
        if char == "," and not depth:
            yield part.strip()
            part = ""
        else:
            part += char
    if part.strip():
        yield part.strip()


def without_arguments(kind: str) -> str:
    """A type without what closures in it are passed, which safe code does not choose."""
    while match := _CALL.search(kind):
        end = enclosed(kind, match.end() - 1, "()")
        kind = f"{kind[: match.start()]} closure {kind[end + 1 :]}"
    return kind


def bounds_of(generics: str, where: str) -> dict[str, str]:
    """The bounds of each type parameter."""
    bounds: dict[str, str] = {}
    for part in [*parts(generics), *parts(where)]:
        name, _, bound = part.partition(":")
        if re.fullmatch(r"\w+", name.strip()):
            bounds[name.strip()] = f"{bounds.get(name.strip(), '')} {bound}"
    return bounds


@dataclass
class Function:
    """A function that other files can name. `place` is that of its first word."""

    place: int
    name: str
    owner: str
    unsafe: bool
    receiver: str
    parameters: list[tuple[str, str]]
    returns: str
    bounds: dict[str, str]
    body: str

    def makes(self) -> set[str]:
        """The names in the type that it returns."""
        return {word if word != "Self" else self.owner for word in re.findall(r"\w+", self.returns)}

    @property
    def called(self) -> str:
        return f"{self.owner}::{self.name}" if self.owner else self.name


def owner_of(head: str) -> tuple[str, bool]:
    """The type of an impl block, and whether the block implements a trait."""
    head = head.strip()
    if head.startswith("<"):
        head = head[enclosed(head, 0, "<>") + 1 :]
    head = re.split(r"\bwhere\b", head)[0]
    trait, found, kind = head.rpartition(" for ")
    name = re.search(r"(\w+)\s*(?:<.*)?$", re.sub(r"<.*", "", kind.strip(), flags=re.S))
    return (name[1] if name else "", bool(found))


@cache
def functions(code: str, private: bool = False) -> tuple[Function, ...]:
    """The functions and methods that other files can name, or those that only the file can."""
    return tuple(_functions(code, private))


def _functions(code: str, private: bool) -> Iterator[Function]:
    traits = [(m.end(), enclosed(code, m.end() - 1, "{}"), m["name"], True) for m in _TRAIT.finditer(code)]
    impls = [(m.end(), enclosed(code, m.end() - 1, "{}"), *owner_of(m["head"])) for m in _IMPL.finditer(code)]
    for match in _FN.finditer(code):
        around = [block for block in traits + impls if block[0] <= match.start() < block[1]]
        owner, open_to_all = max(around)[2:] if around else ("", False)
        if bool(match["public"] or open_to_all) == private:
            continue
        place, generics = match.end(), ""
        if code[place : place + 1] == "<":
            end = enclosed(code, place, "<>")
            generics, place = code[place + 1 : end], end
        place = code.index("(", place)
        end = enclosed(code, place, "()")
        tail = re.match(r"[^{;]*", code[end + 1 :])
        returns, _, where = (tail[0] if tail else "").partition("where")
        start = end + 1 + len(tail[0] if tail else "")
        body = code[start : enclosed(code, start, "{}")] if code[start : start + 1] == "{" else ""
        found = list(parts(code[place + 1 : end]))
        receiver = found.pop(0) if found and re.search(r"\bself\b", found[0].partition(":")[0]) else ""
        named = [(p.partition(":")[0].split()[-1], p.partition(":")[2].strip()) for p in found if ":" in p]
        yield Function(match.start(), match["name"], owner, "unsafe" in match["words"], receiver, named, returns,
                       bounds_of(generics, where), body)


def has_unsafe_code(code: str) -> re.Pattern[str]:
    """What the bodies of functions with unsafe code have: the word, or a call of a private function with such code."""
    helpers = [fn for fn in functions(code, private=True) if not fn.unsafe]
    names: set[str] = set()
    while True:
        pattern = re.compile("|".join([r"\bunsafe\b", *(rf"\b{name}(?:::<[^(]*>)?\(" for name in sorted(names))]))
        found = {fn.name for fn in helpers if pattern.search(fn.body)}
        if found <= names:
            return pattern
        names |= found


@dataclass
class Kapi:
    """What is known of all files of the folder."""

    folder: Path
    texts: dict[Path, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    witnesses: set[str] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    settable: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for path in sorted(self.folder.rglob("*.rs")):
            text = path.read_text()
            self.texts[path] = code_of(text)
            self.witnesses |= set(_INVARIANTS.findall(text))
            for match in [*_ALIAS.finditer(self.texts[path]), *_RENAMED.finditer(self.texts[path])]:
                self.aliases[match["name"]] = match["target"]
            if path.name == "units.rs":
                self.units = set(re.findall(rf"{_PUBLIC}(?:struct|type)\s+(\w+)", self.texts[path]))
        before = -1
        while before != len(self.settable):
            before = len(self.settable)
            for code in self.texts.values():
                self.settable |= set(self.settable_in(code)) - self.witnesses - self.units

    def settable_in(self, code: str) -> Iterator[str]:
        """The types of a file whose numbers safe code can set."""
        for match in _STRUCT.finditer(code):
            tuple_like = match[0].endswith("(")
            end = enclosed(code, match.end() - 1, "()" if tuple_like else "{}")
            for part in parts(code[match.end() : end]):
                public = re.match(_PUBLIC, part := re.sub(r"#\[[^\]]*\]", "", part).strip())
                kind = part[public.end() :] if public else ""
                if self.numbers(self.resolved(kind if tuple_like else kind.partition(":")[2], {})):
                    yield match["name"]
        unsafe = has_unsafe_code(code)
        for fn in functions(code):
            changes = re.search(r"&\s*(?:'\w+\s+)?mut\b", fn.receiver)
            if fn.owner and not fn.unsafe and not unsafe.search(fn.body) and (changes or fn.owner in fn.makes()):
                if any(self.numbers(self.resolved(kind, fn.bounds)) for _, kind in fn.parameters):
                    yield fn.owner

    def resolved(self, kind: str, bounds: dict[str, str]) -> str:
        """A type with what its aliases and type parameters stand for, without arguments of closures."""
        return without_arguments(self.expanded(kind, bounds))

    def expanded(self, kind: str, bounds: dict[str, str]) -> str:
        """A type with what its aliases and type parameters stand for."""
        for _ in range(4):
            words = set(re.findall(r"(?<!Self::)\b\w+", kind))
            known = [word for word in words if (word in self.aliases or word in bounds) and word not in self.units]
            new = kind
            for word in known:
                meant = bounds.get(word) or self.aliases.get(word, "")
                if f"/*{word}*/" not in new:
                    new = re.sub(rf"(?<!Self::)\b{word}\b", lambda _, w=word, m=meant: f"{w}/*{w}*/ ({m})", new)
            if new == kind:
                break
            kind = new
        return re.sub(r"/\*\w+\*/", "", kind)

    def numbers(self, kind: str) -> bool:
        return bool(_NUMBER.search(kind)) or bool((self.units | self.settable) & set(re.findall(r"\w+", kind)))

    def bad(self, name: str, kind: str, bounds: dict[str, str]) -> bool:
        """Whether safe code may not choose a value of this name and type."""
        meant = self.resolved(kind, bounds)
        generic = bool(set(bounds) & set(re.findall(r"\w+", kind)))
        return bool(_POINTER.search(meant)) or bool(
            _PHYSICAL.search(name) and (_NUMBER.search(meant) or generic))

    def forges(self, fn: Function) -> str | None:
        """The number of which a function makes, or by which it changes, a value of a type with invariants."""
        made = {w if w != "Self" else fn.owner for w in re.findall(r"\w+", self.resolved(fn.returns, {}))}
        if fn.receiver and fn.owner in self.witnesses:
            if not re.search(r"&\s*(?:'\w+\s+)?mut\b", fn.receiver):
                return None
        elif not made & self.witnesses:
            return None
        return self.number_of(fn)

    def number_of(self, fn: Function) -> str | None:
        """The first number that a function takes."""
        for name, kind in fn.parameters:
            if self.numbers(self.resolved(kind, fn.bounds)):
                return f"{name}: {' '.join(kind.split())}"
        return f"self: {fn.owner}" if fn.receiver and fn.owner in self.settable else None

    def gives_away(self, kind: str) -> str | None:
        """The number or pointer that a safe function in a type takes."""
        kind = self.expanded(kind, {})
        for match in _CALL.finditer(kind):
            if not re.search(r'\bunsafe\s+(?:extern\s+""\s+)?$', kind[: match.start()]):
                for argument in parts(kind[match.end() : enclosed(kind, match.end() - 1, "()")]):
                    if self.numbers(argument) or _POINTER.search(argument):
                        return argument
        return None

    def breaches(self, code: str) -> Iterator[tuple[int, str, str]]:
        """The place, the name and the text of each breach in a file."""
        unsafe = has_unsafe_code(code)
        for fn in functions(code):
            if fn.unsafe:
                continue
            for name, kind in fn.parameters:
                if self.bad(name, kind, fn.bounds):
                    yield fn.place, fn.called, f"fn {fn.name} is safe and takes `{name}: {' '.join(kind.split())}`"
            if number := self.forges(fn):
                yield fn.place, fn.called, f"fn {fn.name} is safe and keeps an invariant by `{number}`"
            elif unsafe.search(fn.body) and (number := self.number_of(fn)):
                yield fn.place, fn.called, f"fn {fn.name} is safe and has unsafe code that may depend on `{number}`"
            if number := self.gives_away(fn.returns):
                yield fn.place, fn.called, f"fn {fn.name} gives away a function that takes `{number}`"
        for match in _CONSTANT.finditer(code):
            if number := self.gives_away(match["kind"]):
                yield match.start("name"), match["name"], f"{match['name']} is a safe function that takes `{number}`"
        for match in _MACRO.finditer(code):
            if re.search(r"\bfn\b", code[match.end() : enclosed(code, match.end() - 1, "{}")]):
                yield match.start(), f"{match['name']}!", f"macro {match['name']} makes functions"
        for match in _FIELD.finditer(code):
            name, _, kind = match["param"].partition(":")
            if self.bad(name.strip(), kind, {}):
                yield match.start("param"), name.strip(), f"safe code can set `{match['param']}`"
            elif number := self.gives_away(kind):
                yield match.start("param"), name.strip(), f"{name.strip()} is a safe function that takes `{number}`"
        for match in _TUPLE.finditer(code):
            for part in parts(code[match.end() : enclosed(code, match.end() - 1, "()")]):
                public = re.match(_PUBLIC, part)
                if public and self.bad(match["name"].lower(), part[public.end() :], {}):
                    yield match.start(), match["name"], f"safe code can set `{part}` of {match['name']}"


def main(arguments: list[str]) -> int:
    mutate = arguments[0] == "--without-unsafe"
    kapi = Kapi(Path(arguments[-1]))
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
    excused: dict[str, str] = table["unsafe" if mutate else "safe"]
    lines, needed = [], set()
    for path, code in kapi.texts.items():
        here = f"{path.relative_to(kapi.folder)}"
        found: list[tuple[int, str, str]] = []
        if mutate:
            for fn in functions(code):
                if fn.unsafe:
                    word = code.index("unsafe", fn.place)
                    changed = f"{code[:word]}      {code[word + 6 :]}"
                    if not any(fn.place <= place <= word + 7 for place, _, _ in kapi.breaches(changed)):
                        found.append((fn.place, fn.called, f"fn {fn.name} could be safe, and nothing is found"))
        else:
            found = list(kapi.breaches(code))
        for place, name, text in found:
            if (key := f"{here} {name}") in excused:
                needed.add(key)
            else:
                lines.append(f"{path}:{code.count(chr(10), 0, place) + 1}: {text}")
    lines += [f"signatures.toml: {key}: the exception is not needed" for key in excused.keys() - needed]
    print(*lines, sep="\n", end="\n" if lines else "")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
