//! Keeps `docs/ARCHITECTURE.md` and the other pages true: who may use whom, what the core must not
//! touch, how long a file may be, which modules there are, and that every link leads somewhere.
//!
//! Reads sources as text and uses nothing but the standard library, so that it builds in a second.
//! The layers are not repeated here: they are read from the drawing, so the drawing is the rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file. The rule of the house is about 500; this is where it stops being about.
const LINES: usize = 800;
/// Longest file that holds nothing but tests: tables are written whole.
const TEST_LINES: usize = 1000;
/// Layers in which time, chance and the outside world are arguments.
const PURE: [&str; 3] = ["words", "formats", "core"];
/// Folders that are no text of ours.
const NOT_OURS: [&str; 4] = ["target", ".git", "node_modules", ".venv"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every file below `folder` with this extension, ordered.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("a readable folder lists its entries").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !NOT_OURS.contains(&name.as_str()) {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Fails with all findings at once: one run shows everything there is to do.
fn none(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

// ---- Rust as text --------------------------------------------------------------------------------

/// The text with comments, strings and characters blanked out; line breaks stay.
fn without_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
    let mut i = 0;
    while i < chars.len() {
        let rest = &chars[i..];
        let end = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => {
                let (mut depth, mut j) = (0, 0);
                loop {
                    match &rest[j.min(rest.len())..] {
                        [] => break j,
                        ['/', '*', ..] => (depth, j) = (depth + 1, j + 2),
                        ['*', '/', ..] => {
                            (depth, j) = (depth - 1, j + 2);
                            if depth == 0 {
                                break j;
                            }
                        }
                        _ => j += 1,
                    }
                }
            }
            ['r', '"' | '#', ..] if i == 0 || !is_word(chars[i - 1]) || chars[i - 1] == 'b' => {
                let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
                if rest.get(1 + hashes) == Some(&'"') {
                    let close: Vec<char> = std::iter::once('"').chain(vec!['#'; hashes]).collect();
                    let from = 2 + hashes;
                    let length = rest[from..].windows(close.len()).position(|w| w == close.as_slice());
                    length.map_or(rest.len(), |l| from + l + close.len())
                } else {
                    0
                }
            }
            ['"', ..] => quoted(rest, '"'),
            // A lifetime has no second quote within reach.
            ['\'', '\\', ..] => quoted(rest, '\''),
            ['\'', _, '\'', ..] => 3,
            _ => 0,
        };
        if end == 0 {
            out.push(chars[i]);
            i += 1;
        } else {
            out.extend(rest[..end].iter().map(|c| blank(*c)));
            i += end;
        }
    }
    out
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut j = 1;
    while j < rest.len() && rest[j] != quote {
        j += if rest[j] == '\\' { 2 } else { 1 };
    }
    (j + 1).min(rest.len())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Takes out the items marked `#[cfg(test)]`, and names the modules among them that have files.
fn without_tests(text: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let (mut out, mut rest, mut modules) = (String::new(), text, Vec::new());
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        let item = &rest[at + MARK.len()..];
        let (mut depth, mut end) = (0, item.len());
        for (i, c) in item.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 1 => depth -= 1,
                '}' => {
                    end = i + 1;
                    break;
                }
                ';' if depth == 0 => {
                    let words: Vec<&str> = item[..i].split_whitespace().collect();
                    if let [.., "mod", name] = words.as_slice() {
                        modules.push((*name).to_owned());
                    }
                    end = i + 1;
                    break;
                }
                _ => {}
            }
        }
        rest = &item[end..];
    }
    out.push_str(rest);
    (out, modules)
}

/// Words and punctuation; `::` is one token.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    tokens
}

/// What is named right after `head::`, in plain paths and in groups: `crate::{a, b::c}` gives a, b.
fn after<'a>(tokens: &[&'a str], head: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (i, pair) in tokens.windows(3).enumerate() {
        if pair[0] != head || pair[1] != "::" || (i > 0 && tokens[i - 1] == "::") {
            continue;
        }
        if pair[2] != "{" {
            found.push(pair[2]);
            continue;
        }
        let mut depth = 0;
        for (j, token) in tokens.iter().enumerate().skip(i + 2) {
            match *token {
                "{" => depth += 1,
                "}" if depth == 1 => break,
                "}" => depth -= 1,
                word if depth == 1 && matches!(tokens[j - 1], "{" | ",") => found.push(word),
                _ => {}
            }
        }
    }
    found
}

struct Source {
    path: PathBuf,
    /// `["store", "sqlite", "writer"]`.
    module: Vec<String>,
    is_test: bool,
    /// Without comments, literals and test items.
    code: String,
}

/// All of `src/`, with the files that only tests see marked.
fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut all = Vec::new();
    let mut test_modules = BTreeSet::new();
    for path in files(&src, "rs") {
        let inside = path.strip_prefix(&src).expect("it was found below src").with_extension("");
        let mut module: Vec<String> =
            inside.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
        if module.last().is_some_and(|m| m == "mod") {
            module.pop();
        }
        if module == ["lib"] {
            module.pop();
        }
        let (code, hidden) = without_tests(&without_literals(&read(&path)));
        for name in hidden {
            let mut hidden = module.clone();
            hidden.push(name);
            test_modules.insert(hidden);
        }
        all.push(Source { path, module, is_test: false, code });
    }
    for source in &mut all {
        source.is_test = (1..=source.module.len()).any(|n| test_modules.contains(&source.module[..n]));
    }
    assert!(all.len() > 50, "the sources were not found");
    all
}

// ---- the drawing ---------------------------------------------------------------------------------

/// Layers from the top down, each with its modules from left to right.
fn drawing() -> Vec<(String, Vec<String>)> {
    let page = read(&root().join("docs/ARCHITECTURE.md"));
    let section = page.split("\n## Layers").nth(1).expect("docs/ARCHITECTURE.md has a section `## Layers`");
    let block = section.split("```").nth(1).expect("the section `## Layers` holds a drawing");
    let layers: Vec<(String, Vec<String>)> = block
        .lines()
        .skip(1)
        .filter_map(|line| {
            let (layer, modules) = line.trim().split_once(' ')?;
            Some((layer.to_owned(), modules.split('·').map(|m| m.trim().to_owned()).collect()))
        })
        .collect();
    let names: Vec<&str> = layers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["shell", "core", "formats", "words"], "the layers of the drawing, from the top down");
    layers
}

#[test]
fn the_drawing_shows_the_modules_that_there_are() {
    let drawn: BTreeSet<String> = drawing().into_iter().flat_map(|(_, modules)| modules).collect();
    let there: BTreeSet<String> = sources()
        .iter()
        .filter_map(|s| s.module.first().cloned())
        .filter(|m| !matches!(m.as_str(), "main"))
        .collect();
    let undrawn: Vec<_> = there.difference(&drawn).collect();
    let gone: Vec<_> = drawn.difference(&there).collect();
    assert!(
        undrawn.is_empty() && gone.is_empty(),
        "the drawing below `## Layers` in docs/ARCHITECTURE.md lacks {undrawn:?} and shows {gone:?}, which \
         src/ does not have"
    );
}

#[test]
fn dependencies_point_down_and_to_the_right_only() {
    let order: Vec<String> = drawing().into_iter().flat_map(|(_, modules)| modules).collect();
    let rank = |module: &str| order.iter().position(|m| m == module);
    let mut findings = Vec::new();
    let mut uses = 0;
    for source in sources().iter().filter(|s| !s.is_test) {
        let Some(own) = source.module.first().and_then(|m| rank(m)) else { continue };
        let tokens = tokens(&source.code);
        for used in after(&tokens, "crate") {
            let Some(other) = rank(used) else { continue };
            uses += usize::from(other != own);
            if other < own {
                findings.push(format!(
                    "{}: `{}` uses `{used}`, which is drawn above or to the left of it",
                    relative(&source.path),
                    order[own]
                ));
            }
        }
        // `super` that climbs out of the folder would pass by the rule above.
        if climbs_out(&tokens, source.module.len()) {
            findings.push(format!(
                "{}: `super` reaches the crate's root; write `crate::`",
                relative(&source.path)
            ));
        }
    }
    none("dependencies that do not point down", &findings);
    assert!(uses > 30, "only {uses} uses were found: the reader of `use` lines is broken");
}

/// Does a path `super::super::…` of a module at this depth leave its top-level module?
fn climbs_out(tokens: &[&str], depth: usize) -> bool {
    let mut i = 0;
    while i < tokens.len() {
        let mut supers = 0;
        while i + 1 < tokens.len() && tokens[i] == "super" && tokens[i + 1] == "::" {
            (supers, i) = (supers + 1, i + 2);
        }
        if supers >= depth.max(1) {
            return true;
        }
        i += 1;
    }
    false
}

#[test]
fn the_core_reads_no_clock_no_chance_and_no_file() {
    const WORLD: [&str; 5] = ["fs", "net", "process", "env", "thread"];
    const NAMES: [&str; 12] = [
        "tokio",
        "reqwest",
        "rusqlite",
        "axum",
        "getrandom",
        "SystemTime",
        "Instant",
        "OsRng",
        "SysRng",
        "thread_rng",
        "println",
        "eprintln",
    ];
    let pure: BTreeSet<String> = drawing()
        .into_iter()
        .filter(|(layer, _)| PURE.contains(&layer.as_str()))
        .flat_map(|(_, m)| m)
        .collect();
    let mut findings = Vec::new();
    let mut looked_at = 0;
    for source in sources().iter().filter(|s| !s.is_test) {
        if !source.module.first().is_some_and(|m| pure.contains(m)) {
            continue;
        }
        looked_at += 1;
        let tokens = tokens(&source.code);
        let mut found: BTreeSet<String> =
            tokens.iter().filter(|t| NAMES.contains(t)).map(|t| (*t).to_owned()).collect();
        found.extend(
            after(&tokens, "std").into_iter().filter(|m| WORLD.contains(m)).map(|m| format!("std::{m}")),
        );
        for call in tokens.windows(3) {
            if call[1] == "::" && call[2] == "now" {
                found.insert(format!("{}::now", call[0]));
            }
        }
        findings.extend(found.iter().map(|f| format!("{}: {f}", relative(&source.path))));
    }
    none("the core takes time, chance and texts as arguments, and prints nothing", &findings);
    assert!(looked_at > 30, "only {looked_at} files of the core were found");
}

#[test]
fn every_module_says_what_it_is_and_fits_on_a_few_screens() {
    let mut findings = Vec::new();
    let mut paths: Vec<(PathBuf, bool)> = sources().into_iter().map(|s| (s.path, s.is_test)).collect();
    for folder in ["crates", "tests", "examples", "benches"] {
        let folder = root().join(folder);
        if folder.is_dir() {
            paths.extend(files(&folder, "rs").into_iter().map(|p| {
                let in_tests = p.components().any(|c| c.as_os_str() == "tests");
                (p, in_tests)
            }));
        }
    }
    for (path, is_test) in paths {
        let text = read(&path);
        let lines = text.lines().count();
        let limit = if is_test { TEST_LINES } else { LINES };
        if lines >= limit {
            findings.push(format!("{}: {lines} lines; split it by noun below {limit}", relative(&path)));
        }
        let first = text.lines().find(|l| !l.is_empty() && !l.starts_with("#!["));
        if !first.is_some_and(|l| l.starts_with("//! ") && l.len() > 12) {
            findings.push(format!("{}: does not open with `//!` and what it is", relative(&path)));
        }
    }
    none("files", &findings);
}

// ---- pages ---------------------------------------------------------------------------------------

/// A heading's anchor, as the usual renderers make it.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if is_word(c) || c == '-' => Some(c),
            _ => None,
        })
        .collect()
}

/// The text outside of fenced blocks.
fn prose(page: &str) -> String {
    page.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

fn anchors(page: &str) -> BTreeSet<String> {
    prose(page).lines().filter(|l| l.starts_with('#')).map(|l| anchor(l.trim_start_matches('#'))).collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut findings = Vec::new();
    let mut links = 0;
    for path in files(root(), "md") {
        let page = read(&path);
        let text = prose(&page);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with("mailto:") || target.contains(char::is_whitespace)
            {
                continue;
            }
            links += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let goal = match file {
                "" => path.clone(),
                file => path.parent().expect("a file is in a folder").join(file),
            };
            if !goal.exists() {
                findings.push(format!("{}: {target} is not there", relative(&path)));
            } else if !heading.is_empty() && goal.is_file() && !anchors(&read(&goal)).contains(heading) {
                findings.push(format!("{}: {target}: no such heading", relative(&path)));
            }
        }
    }
    none("links that lead nowhere", &findings);
    assert!(links > 10, "only {links} links were found");
}

/// Words of the form `prefix` and digits, for example `TB-T001`.
fn ids(text: &str) -> BTreeSet<String> {
    text.match_indices("TB-")
        .filter_map(|(at, _)| text.get(at..at + 7))
        .filter(|id| id[4..].bytes().all(|b| b.is_ascii_digit()) && id.as_bytes()[3].is_ascii_uppercase())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_finding_of_check_is_explained_and_no_other() {
    let mut raised = BTreeSet::new();
    for source in sources().iter().filter(|s| !s.is_test) {
        // The ids stand in strings, so the text is read as it is.
        raised.extend(ids(&read(&source.path)));
    }
    let explained = ids(&read(&root().join("docs/authoring-a-trial.md")));
    let missing: Vec<_> = raised.difference(&explained).collect();
    let stale: Vec<_> = explained.difference(&raised).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "docs/authoring-a-trial.md lacks {missing:?} and explains {stale:?}, which nothing raises"
    );
    assert!(raised.len() > 20, "the ids were not found");
}

/// `pub name:` fields of the structs in a file, by struct.
fn fields(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("pub struct ") {
            current = rest.split(|c| !is_word(c)).next().map(str::to_owned);
        } else if line == "}" {
            current = None;
        } else if let (Some(name), Some(rest)) = (&current, line.strip_prefix("pub "))
            && let Some((field, _)) = rest.split_once(':')
        {
            found.entry(name.clone()).or_default().push(field.to_owned());
        }
    }
    found
}

/// Names of metrics, `trialbridge_…`.
fn metric_names(text: &str) -> BTreeSet<String> {
    text.match_indices("trialbridge_")
        .map(|(at, _)| text[at..].split(|c: char| !is_word(c)).next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_key_exit_code_and_metric_is_documented() {
    let page = read(&root().join("docs/operating.md"));
    let mut structs = fields(&read(&root().join("src/config.rs")));
    structs.extend(fields(&read(&root().join("src/config/access.rs"))));
    let mut findings = Vec::new();
    let mut keys = 0;
    for (section, fields) in &structs {
        if section == "ConfigError" {
            continue;
        }
        for field in fields.iter().filter(|f| *f != "origin") {
            keys += 1;
            let is_section = structs.keys().any(|s| s.to_lowercase() == *field);
            if !is_section && !page.contains(&format!("`{field}`")) && !page.contains(&format!(".{field}`")) {
                findings.push(format!("docs/operating.md: no word of the key `{field}` of {section}"));
            }
        }
    }
    let codes = read(&root().join("src/cli/mod.rs"));
    let codes: Vec<&str> = codes
        .lines()
        .filter_map(|l| l.trim().strip_prefix("pub const ")?.split_once(": u8 = ")?.1.strip_suffix(';'))
        .collect();
    for code in &codes {
        if !page.contains(&format!("\n| {code} |")) {
            findings.push(format!("docs/operating.md: no row for exit code {code}"));
        }
    }
    let metrics = metric_names(&read(&root().join("src/web/ops.rs")));
    for metric in metrics.difference(&metric_names(&page)) {
        findings.push(format!("docs/operating.md: no word of the metric {metric}"));
    }
    for metric in metric_names(&page).difference(&metrics) {
        findings.push(format!("docs/operating.md: src/web/ops.rs does not give out {metric}"));
    }
    assert!(metrics.len() > 4, "{} metrics were found", metrics.len());
    none("the operator's page", &findings);
    assert!(keys > 25 && codes.len() > 8, "{keys} keys and {} exit codes were found", codes.len());
}

// ---- the reader itself ---------------------------------------------------------------------------

#[test]
fn the_reader_sees_what_the_compiler_sees() {
    let text = r##"
use crate::{fact::Fact, fhir::{json, text}, r#type};
// use crate::cli;
/* use crate::web; /* nested */ use crate::store; */
const A: &str = "crate::sink \" crate::source"; const B: &str = r#"crate::client"#;
const C: char = '"'; const D: char = '\''; fn e<'a>(x: &'a str) -> &'a str { x }
fn f() { crate::score::meld(); other::crate::x(); std::time::Instant::now(); }
#[cfg(test)]
use crate::pipeline::P;
#[cfg(test)]
mod tests { fn g() { if true { crate::sandbox::start(); } } }
#[cfg(test)]
pub(crate) mod suite;
fn h() { crate::audit::verify(); }
"##;
    let (code, modules) = without_tests(&without_literals(text));
    let tokens = tokens(&code);
    assert_eq!(after(&tokens, "crate"), ["fact", "fhir", "r", "score", "audit"]);
    assert_eq!(after(&tokens, "std"), ["time"]);
    assert_eq!(modules, ["suite"]);
    assert!(tokens.contains(&"Instant"));
    for (path, depth, out) in [
        ("use super::x;", 1, true),
        ("use super::x;", 2, false),
        ("use super::super::x;", 2, true),
        ("use super::super::x;", 3, false),
    ] {
        assert_eq!(climbs_out(&self::tokens(path), depth), out, "{path} at {depth}");
    }
    assert_eq!(anchor(" 2. below(n): a `number` from 0 "), "2-belown-a-number-from-0");
}
