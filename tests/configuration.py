#!/usr/bin/env python3
"""Writes docs/configuration.md from the JSON Schema that `scopegate schema` prints, so that every key is there with its
meaning and nothing else is.

    tests/configuration.py SCHEMA.json           writes the page
    tests/configuration.py SCHEMA.json --check   fails if the page is out of date
"""

import json
import pathlib
import sys

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
HEAD = """# The configuration file

Every key, with its meaning, as `scopegate schema` has it (this page is made from that by `tests/configuration.py`).
[The bank](../tests/examples/bank/scopegate.yaml) and [external](../tests/examples/external/scopegate.yaml) are whole files;
`scopegate check -c FILE` reports every mistake of yours with line, column and a way out. A key in **bold** must be written.
"""


def name_of(reference):
    return reference.rsplit("/", 1)[1]


def anchor(name):
    return f"[{name}](#{name.lower()})"


def kind(schema, definitions):
    """What may be written for a key, in words."""
    if schema is True or schema == {}:
        return "anything"
    if "$ref" in schema:
        name = name_of(schema["$ref"])
        target = definitions[name]
        return anchor(name) if is_told(target) else kind(target, definitions)
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`".replace('"', "")
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"] if word is not None)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            kinds = [kind(one, definitions) for one in schema[several] if one != {"type": "null"}]
            return " or ".join(dict.fromkeys(kinds))
    types = schema.get("type", "anything")
    types = [one for one in ([types] if isinstance(types, str) else types) if one != "null"]
    if types == ["array"]:
        return "list of " + kind(schema.get("items", True), definitions)
    words = {"string": "text", "integer": "number", "boolean": "`true`, `false`", "object": "mapping"}
    return " or ".join(words.get(one, one) for one in types)


def is_told(schema):
    """Whether a definition has a section of its own."""
    if "properties" in schema:
        return True
    variants = schema.get("oneOf") or schema.get("anyOf") or []
    return any("description" in one for one in variants) or any("$ref" in one for one in variants)


def cell(text):
    return " ".join(text.split()).replace("|", "\\|")


def section(name, schema, definitions):
    lines = [f"\n## {name}\n"]
    if "description" in schema:
        lines.append(cell(schema["description"]) + "\n")
    if "properties" in schema:
        required = schema.get("required", [])
        lines += ["| key | value | meaning |", "|---|---|---|"]
        for key, value in schema["properties"].items():
            shown = f"**`{key}`**" if key in required else f"`{key}`"
            meaning = value.get("description", "") if isinstance(value, dict) else ""
            lines.append(f"| {shown} | {cell(kind(value, definitions))} | {cell(meaning)} |")
    else:
        lines += ["| value | meaning |", "|---|---|"]
        for one in schema.get("oneOf") or schema.get("anyOf") or []:
            lines.append(f"| {cell(kind(one, definitions))} | {cell(one.get('description', ''))} |")
    return lines


def page(schema):
    definitions = schema.get("$defs", {})
    lines = [HEAD]
    lines += section("The file", schema, definitions)
    for name in sorted(definitions):
        if is_told(definitions[name]):
            lines += section(name, definitions[name], definitions)
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: tests/configuration.py SCHEMA.json [--check]")
    text = page(json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")))
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit("docs/configuration.md is out of date: run tests/configuration.py with the output of `scopegate schema`")


main()
