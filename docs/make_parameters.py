"""Print docs/parameters.md, made from nextflow_schema.json; `make docs` writes it."""

import json
from pathlib import Path
from typing import Any

HEAD = """# Parameters

Made from `nextflow_schema.json` by `make docs`. `--help` prints the same. [usage.md](usage.md) says what they are for.
"""


def default(parameter: dict[str, Any]) -> str:
    """The default as it is written on a command line."""
    value = parameter.get("default")
    if value is None:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def values(parameter: dict[str, Any]) -> str:
    """What the parameter takes: its choices, or its type with its bounds."""
    if "enum" in parameter:
        return ", ".join(f"`{value}`" for value in parameter["enum"])
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    bounds = [f"{word} {parameter[key]}" for key, word in words.items() if key in parameter]
    kind = {"file-path": "file", "directory-path": "folder", "path": "file or folder"}.get(parameter.get("format", ""))
    return " ".join(
        [kind or {"boolean": "true, false", "string": "text"}.get(parameter["type"], parameter["type"]), *bounds]
    )


def page(schema: dict[str, Any]) -> str:
    """The whole page: a table a group."""
    parts = [HEAD]
    for group in schema["$defs"].values():
        rows = ["| parameter | takes | default | |", "|---|---|---|---|"]
        for name, parameter in group["properties"].items():
            text = f"{parameter['description']} {parameter.get('help_text', '')}".strip()
            if name in group.get("required", []):
                text = f"Required. {text}"
            rows.append(
                f"| `--{name}` | {values(parameter)} | {default(parameter)} | {text.replace('|', chr(92) + '|')} |"
            )
        parts.append("\n".join([f"## {group['title']}", "", group["description"], "", *rows, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(json.loads((Path(__file__).parents[1] / "nextflow_schema.json").read_text())), end="")
