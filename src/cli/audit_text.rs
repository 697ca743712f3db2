//! A subject's [`Dossier`] in words, for an auditor at a terminal.

use super::subjects::changed;
use crate::pipeline::dossier::{Decided, Dossier, Stated};
use std::fmt::Write;

/// A text on one line: control characters, and marks that turn the direction of a line, are shown as codes.
pub fn printable(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = |c: char| c.is_control() || turns(c) || matches!(c, '\u{2028}' | '\u{2029}');
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if breaks(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// All sections; one that is empty says so.
pub fn dossier(d: &Dossier) -> String {
    let mut text = format!("{}\n", d.subject);
    section(&mut text, "decisions", d.decisions.len());
    for (i, decided) in d.decisions.iter().enumerate() {
        let rested_on = d.allocation.as_ref().is_some_and(|a| a.decision == decided.row);
        decision(&mut text, decided, rested_on || i + 1 == d.decisions.len());
    }
    // Writing to a string cannot fail.
    match d.changes.is_empty() {
        true => section(&mut text, "what changed", 0),
        false => text.push_str(&changed(&d.changes)),
    }
    section(&mut text, "judgements and consent", d.statements.len());
    d.statements.iter().for_each(|s| statement(&mut text, s));
    section(&mut text, "who is who", d.identity.len());
    d.identity.iter().for_each(|s| statement(&mut text, s));
    section(&mut text, "allocation", usize::from(d.allocation.is_some()));
    if let Some(a) = &d.allocation {
        let role = a.role.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
        let entry = a.entry.map(|n| format!("; entry {n}")).unwrap_or_default();
        let _ = writeln!(text, "  {}  {} by {}{role}{entry}", a.at, a.id, printable(&a.by));
        let decided = d.decisions.iter().rfind(|r| r.row <= a.decision);
        if let Some(decided) = decided {
            let _ = writeln!(text, "      on the decision of {}, which was {}", decided.at, decided.decision);
        }
        let _ = writeln!(text, "      definition {}", a.definition);
    }
    section(&mut text, "deviations", d.deviations.len());
    for deviation in &d.deviations {
        let _ = writeln!(
            text,
            "  {}  {} {}  {}",
            deviation.opened_at,
            deviation.kind,
            printable(&deviation.reference),
            deviation.state
        );
        if let Some(seen) = &deviation.acknowledged {
            statement(&mut text, seen);
        }
    }
    section(&mut text, "write-back", d.writeback.len());
    for item in &d.writeback {
        let done = item.done_at.as_ref().map(|at| format!(" {at}")).unwrap_or_default();
        let error = item.last_error.as_ref().map(|e| format!("  {}", printable(e))).unwrap_or_default();
        let _ = writeln!(text, "  {}  {}  {}{done}{error}", item.created_at, item.kind, item.state);
    }
    section(&mut text, "arm shown to", d.shown.len());
    for seen in &d.shown {
        statement(&mut text, seen);
    }
    section(&mut text, "signatures", d.signatures.len());
    for s in &d.signatures {
        let by = printable(&s.by);
        let entry = s.entry.map(|n| format!("; entry {n}")).unwrap_or_default();
        let _ = writeln!(text, "  {}  {} by {by} ({}), {}{entry}", s.at, s.action, s.role, s.signature);
    }
    text
}

fn section(text: &mut String, name: &str, count: usize) {
    let _ = writeln!(text, "\n{name}{}", if count == 0 { "\n  none" } else { "" });
}

fn decision(text: &mut String, d: &Decided, with_grounds: bool) {
    let days = if d.from == d.to { d.from.clone() } else { format!("{} to {}", d.from, d.to) };
    let by = match d.deciding.is_empty() {
        true => String::new(),
        false => format!(" by {}", d.deciding.join(" ")),
    };
    let records = d.records.as_ref().map(|n| format!(", on {n} records")).unwrap_or_default();
    let entry =
        d.entry.map_or_else(|| "before the log covered decisions".to_owned(), |n| format!("entry {n}"));
    let _ = writeln!(text, "  {}  {}{by}, for {days}{records}; {entry}", d.at, d.decision);
    if !with_grounds {
        return;
    }
    for g in &d.rests_on {
        let effective = g.effective.as_ref().map(|at| format!(" of {at}")).unwrap_or_default();
        let verdict = g.verdict.as_ref().map(|v| format!("{v} ")).unwrap_or_default();
        let _ = writeln!(
            text,
            "      {:<24} {verdict}{}{effective}  {}",
            g.what,
            printable(&g.value),
            printable(&g.reference)
        );
    }
}

fn statement(text: &mut String, s: &Stated) {
    let said: Vec<String> = s
        .detail
        .iter()
        .filter(|(key, _)| *key != "reason")
        .map(|(key, value)| format!("{key} {}", printable(value)))
        .collect();
    let _ = writeln!(
        text,
        "  {}  {} by {} ({}); entry {}\n      {}",
        s.at,
        s.action,
        printable(&s.by),
        s.role,
        s.entry,
        said.join(", ")
    );
    if let Some(reason) = s.detail.get("reason").filter(|r| !r.trim().is_empty()) {
        let _ = writeln!(text, "      reason: {}", printable(reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_draw_on_the_terminal() {
        assert_eq!(printable("Dr 李 é"), "Dr 李 é");
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}d\u{2028}"), "a\\u{1b}[2Jb\\u{a}c\\u{202e}d\\u{2028}");
    }
}
