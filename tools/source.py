"""What the checks see of C sources: text with comments and literals blanked, functions, switches.

A reader for well-formed, clang-formatted C; it knows no types and expands no macros.
"""
import os
import re
from collections import namedtuple

Function = namedtuple("Function", "name first last start end")
Switch = namedtuple("Switch", "line labels has_default default_line")

TOKEN = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


def _blank(text):
    return "".join("\n" if c == "\n" else " " for c in text)


class Source:
    """One file: `raw` text, `code` (same length; comments and literals blanked), `comments`."""

    def __init__(self, root, path):
        self.path = os.path.relpath(path, root)
        with open(path, encoding="utf-8") as file:
            self.raw = file.read()
        self.comments = []

        def replace(match):
            token = match.group(0)
            if token[0] == "/":
                self.comments.append((self.raw.count("\n", 0, match.start()) + 1, token))
                return _blank(token)
            return token[0] + _blank(token[1:-1]) + token[-1]

        self.code = TOKEN.sub(replace, self.raw)
        # Without preprocessor lines, so that braces balance.
        self.bare = re.sub(r"(?m)^[ \t]*#(?:[^\n\\]|\\\n|\\.)*",
                           lambda m: _blank(m.group(0)), self.code)

    @property
    def room(self):
        parts = self.path.split(os.sep)
        return parts[1] if parts[0] == "src" and len(parts) > 2 else None

    def line_of(self, offset):
        return self.code.count("\n", 0, offset) + 1

    def lines(self):
        return self.raw.count("\n") + (not self.raw.endswith("\n"))

    def _closing(self, opening):
        depth = 0
        for match in re.compile(r"[{}]").finditer(self.bare, opening):
            depth += 1 if match.group(0) == "{" else -1
            if depth == 0:
                return match.start()
        return len(self.bare) - 1

    def functions(self):
        """Definitions at file scope, in order."""
        result = []
        position = 0
        brace = re.compile(r"{")
        while True:
            match = brace.search(self.bare, position)
            if not match:
                return result
            end = self._closing(match.start())
            before = self.bare[position:match.start()]
            head = re.split(r"[;}]", before)[-1]
            name = re.search(r"\b(\w+)\s*\([^{]*\)\s*$", head, re.S)
            if name and "=" not in head and not re.match(r"\s*(typedef\s+)?(struct|enum|union)\s+\w*\s*$", head):
                first_name = re.search(r"\b(?!__attribute__\b)(\w+)\s*\(", head)
                result.append(Function(first_name.group(1), self.line_of(match.start()),
                                       self.line_of(end), match.start(), end))
            position = end + 1

    def switches(self):
        """Every switch with the labels that are its own, not those of a switch inside it."""
        found = []
        for match in re.finditer(r"\bswitch\s*\(", self.bare):
            opening = self.bare.find("{", match.end())
            if opening >= 0:
                found.append((match.start(), opening, self._closing(opening)))
        result = []
        for start, opening, end in found:
            body = list(self.bare[opening + 1:end])
            for other_start, other_open, other_end in found:
                if opening < other_start and other_end < end:
                    for i in range(other_open - opening - 1, other_end - opening):
                        if body[i] != "\n":
                            body[i] = " "
            text = "".join(body)
            default = re.search(r"\bdefault\s*:", text)
            result.append(Switch(self.line_of(start), re.findall(r"\bcase\s+(\w+)\s*[:.]", text),
                                 default is not None,
                                 self.line_of(opening + 1 + default.start()) if default else 0))
        return result

    def enumerators(self):
        names = set()
        for body in re.findall(r"\benum\b[^;{}()]*{([^}]*)}", self.bare):
            for item in body.split(","):
                name = re.match(r"\s*(\w+)\s*(=|$)", item)
                if name:
                    names.add(name.group(1))
        return names


def walk(root, folders, endings):
    """Paths below the folders of root, sorted, without packages, builds and samples."""
    for folder in folders:
        base = os.path.join(root, folder)
        if os.path.isfile(base):
            yield base
        for here, dirs, files in os.walk(base):
            dirs[:] = sorted(d for d in dirs
                             if d not in ("node_modules", "build", "selftest", "__pycache__",
                                          "corpus", ".venv", ".git"))
            for name in sorted(files):
                if not endings or name.endswith(endings):
                    yield os.path.join(here, name)


def sources(root, folders=("src",), endings=(".c", ".h")):
    return [Source(root, path) for path in walk(root, folders, endings)]
