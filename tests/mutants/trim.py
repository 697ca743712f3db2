"""Writes the part of the library that a module's mutation testing needs as a crate of its own:
trim.py MODULE ROOT FOLDER

The store, the network and the pages take a minute to compile and decide nothing clinical. The crate holds
the module, whatever it uses, and the tests that speak of it: for `eligibility` that is also the command
`screen`, against which tests/suite runs. Everything is cut out of the sources; nothing is written twice.
A file that did not change keeps its time, so that the next build compiles little.
"""

import os
import re
import sys
import tomllib
from pathlib import Path

# What is tested besides the module itself: modules of the library, and files of tests/suite.
TESTED_BY = {
    "score": ([], []),
    # Not the file `properties`: it would take half of the time, and what only a random case notices deserves
    # a case of its own.
    "eligibility": (["cli"], ["golden", "resources", "runner", "screen", "screen_criteria", "screen_dialysis",
                              "screen_edges", "screen_reasons", "screen_rules", "screen_values", "second_trial"]),
    "randomize": ([], []),
}
# Of these only some parts, by the file that declares them.
PARTS = {
    "src/cli/mod.rs": ["files", "output", "screen", "sheet", "trial", "whole"],
    "src/normalize/mod.rs": ["fhir", "precedence"],
    "src/source/mod.rs": ["blocks", "files"],
}
COMMANDS = ["Screen"]

PROFILE = """
[profile.dev]
debug = false
incremental = true

[profile.dev.package."*"]
opt-level = 2
"""


def stop(text):
    sys.exit(f"error: {text}: tests/mutants/trim.py has to follow")


def declared(text):
    return re.findall(r"^(?:pub )?mod (\w+);$", text, re.M)


def only(text, wanted, place):
    """The text without the declarations of other modules."""
    missing = set(wanted) - set(declared(text))
    if missing:
        stop(f"{place} does not declare {', '.join(sorted(missing))}")
    keep = lambda found: found.group(0) if found.group(1) in wanted else ""
    return re.sub(r"^(?:pub )?mod (\w+);\n", keep, text, flags=re.M)


def commands(text):
    """The command line with COMMANDS alone."""
    before, begin, rest = text.partition("pub enum Command {\n")
    variants, end, after = rest.partition("\n}\n")
    if not (begin and end):
        stop("src/cli/mod.rs has no enum Command")
    each = re.findall(r"(?:^ {4}(?:///|#\[).*\n)*^ {4}(\w+)[^\n]*,$", variants, re.M)
    kept = [
        found.group(0)
        for found in re.finditer(r"(?:^ {4}(?:///|#\[).*\n)*^ {4}(\w+)[^\n]*,$", variants, re.M)
        if found.group(1) in COMMANDS
    ]
    if len(kept) != len(COMMANDS):
        stop(f"of {len(each)} commands in src/cli/mod.rs these are wanted: {', '.join(COMMANDS)}")
    arm = lambda found: found.group(0) if found.group(1) in COMMANDS else ""
    after = re.sub(r"^ {8}Command::(\w+)\b.* => .*,\n", arm, after, flags=re.M)
    # What needs the rest of the shell: logging, and the hook of the pipeline.
    after = re.sub(r"^ {4}(?:shell|crate::pipeline)::.*;\n", "", after, flags=re.M)
    return before + begin + "\n".join(kept) + end + after


def manifest(sources, with_suite):
    """The package with those dependencies of the root that the sources name."""
    text = (ROOT / "Cargo.toml").read_text()
    known = tomllib.loads(text)
    workspace = known["workspace"]["package"]
    names = lambda table: sorted(
        name for name in known[table] if re.search(rf"\b{name.replace('-', '_')}(?:::|\s+as\b)", sources)
    )
    line = lambda name: re.search(rf"^{re.escape(name)} = .*$", text, re.M).group(0)
    parts = [
        "[package]",
        f'name = "{known["package"]["name"]}"',
        f'version = "{known["package"]["version"]}"',
        f'edition = "{workspace["edition"]}"',
        f'description = "{known["package"]["description"]}"',
        "publish = false",
        "autobenches = false",
        "autoexamples = false",
        "",
        "[workspace]",
        "",
        "[dependencies]",
        *(line(name) for name in names("dependencies")),
        "",
        "[dev-dependencies]",
        *(line(name) for name in names("dev-dependencies")),
        "",
        *(["[[test]]", 'name = "suite"', 'path = "tests/suite/main.rs"'] if with_suite else []),
        PROFILE,
    ]
    return "\n".join(parts)


def uses(sources):
    """The modules at the top of the library that the sources name."""
    return {name for text in sources for name in re.findall(r"\bcrate::(\w+)", text)}


def without_tests(text):
    """The text without the tests that stand below it, or in a file of their own."""
    return re.sub(r"^#\[cfg\(test\)\]\nmod tests(?:;\n| \{\n.*\Z)", "", text, flags=re.M | re.S)


def read(folder, name, with_tests=True):
    """The sources of the module `name`, declared in `folder`, by path, without the parts not wanted."""
    found = {}
    for path in [folder / f"{name}.rs", folder / name / "mod.rs"]:
        if not path.exists():
            continue
        text = path.read_text()
        parts = PARTS.get(str(path.relative_to(ROOT)))
        if parts is not None:
            text = only(text, parts, path)
        if path == ROOT / "src/cli/mod.rs":
            text = commands(text)
        if not with_tests:
            text = without_tests(text)
        found[path] = text
        for part in declared(text):
            found |= read(folder / name, part, with_tests)
    return found


def main(module, folder):
    with_modules, with_suite = TESTED_BY[module]
    kept, wanted = {}, {module, *with_modules}
    while wanted:
        name = wanted.pop()
        sources = read(ROOT / "src", name, with_tests=name == module)
        if not sources:
            stop(f"src has no module {name}")
        kept[name] = sources
        wanted |= uses(sources.values()) - set(kept)
    new = {path: text for sources in kept.values() for path, text in sources.items()}
    lib = ROOT / "src/lib.rs"
    new[lib] = only(lib.read_text(), kept, lib)
    if with_suite:
        suite = ROOT / "tests/suite/main.rs"
        new[suite] = only(suite.read_text(), with_suite, suite)
        for name in with_suite:
            new |= read(suite.parent, name)
        program = ROOT / "src/main.rs"
        new[program] = program.read_text()
    new = {path.relative_to(ROOT): text for path, text in new.items()}
    new[Path("Cargo.toml")] = manifest("\n".join(new.values()), bool(with_suite))

    for part in ["src", "tests"]:
        for old in (folder / part).rglob("*.rs"):
            if old.relative_to(folder) not in new:
                old.unlink()
    for name, text in new.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    # Cargo drops from the lock file what this crate does not use; the versions stay.
    lock = folder / "Cargo.lock"
    if not lock.exists() or lock.stat().st_mtime < (ROOT / "Cargo.lock").stat().st_mtime:
        lock.write_text((ROOT / "Cargo.lock").read_text())
    for name in ["fixtures", "mappings"]:
        link = folder / name
        if not link.is_symlink():
            os.symlink(ROOT / name, link)


if __name__ == "__main__":
    ROOT = Path(sys.argv[2]).resolve()
    main(sys.argv[1], Path(sys.argv[3]))
