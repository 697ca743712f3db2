//! The file outside the database in which the ends of the audit chain are written down, one a line:
//! `SEQUENCE sha256:… UTC`.
//!
//! Lines are only added. A line that cannot be read says nothing: the machine stopped while it was
//! written, and what it said stands in the chain, or is found by the line before. A chain agrees with the
//! file if it runs through every line. What did not agree and was accepted by a named person is known by
//! its entry [`ACCEPT`] in the chain, whose own line follows in the file.

use super::{Break, Entry, Fault, Head};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The action of the entry by which a person accepts a chain that does not run through its anchor.
pub const ACCEPT: &str = "audit.accept";

/// One line: where the chain ended, and when that was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub head: Head,
    /// UTC, RFC 3339 with `Z`.
    pub at: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.head, self.at)
    }
}

/// The text is not a line of an anchor file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a line of an anchor file: a sequence number, `sha256:` with 64 digits and a UTC time are expected"
)]
pub struct NotALine;

impl FromStr for Line {
    type Err = NotALine;
    fn from_str(text: &str) -> Result<Self, NotALine> {
        let (head, at) = text.rsplit_once(' ').ok_or(NotALine)?;
        if !at.ends_with('Z') || chrono::DateTime::parse_from_rfc3339(at).is_err() {
            return Err(NotALine);
        }
        Ok(Line { head: head.parse().map_err(|_| NotALine)?, at: at.to_owned() })
    }
}

/// The last line of a file that was written to its end and can be read.
pub fn last(text: &[u8]) -> Option<Line> {
    let whole = text.iter().rposition(|b| *b == b'\n')?;
    text.get(..whole)?.rsplit(|b| *b == b'\n').find_map(read)
}

fn read(line: &[u8]) -> Option<Line> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

/// All lines of an anchor file, held against a chain that is read once from its beginning.
#[derive(Clone, Debug, Default)]
pub struct Anchors {
    /// Number of the line and hash, by sequence number.
    lines: BTreeMap<u64, Vec<(usize, Head)>>,
    last: Option<Line>,
    unreadable: usize,
    /// Lines that the chain does not run through, and what is wrong there.
    broken: Vec<(usize, Break)>,
    /// The last line that is the head of an entry [`ACCEPT`]: what stands before it was looked into.
    accepted: usize,
}

impl Anchors {
    /// Reads a file. What stands behind the last line break was not written to its end.
    pub fn read(text: &[u8]) -> Anchors {
        let mut anchors = Anchors::default();
        let whole = text.iter().rposition(|b| *b == b'\n').unwrap_or(0);
        for (number, line) in (1..).zip(text.get(..whole).unwrap_or_default().split(|b| *b == b'\n')) {
            match read(line) {
                Some(line) => {
                    anchors.lines.entry(line.head.sequence).or_default().push((number, line.head));
                    anchors.last = Some(line);
                }
                None if line.is_empty() => {}
                None => anchors.unreadable += 1,
            }
        }
        anchors
    }

    /// The last line.
    pub fn last(&self) -> Option<&Line> {
        self.last.as_ref()
    }

    /// How many lines can be read.
    pub fn len(&self) -> usize {
        self.lines.values().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Lines that were torn, or damaged.
    pub fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// Takes the next entry of the chain, whose own hash was checked.
    pub fn follow(&mut self, entry: &Entry) {
        for (line, head) in self.lines.get(&entry.sequence).into_iter().flatten() {
            if *head != entry.head() {
                let sequence = entry.sequence;
                self.broken.push((*line, Break { sequence, what: Fault::Forked }));
            } else if entry.action == ACCEPT {
                self.accepted = self.accepted.max(*line);
            }
        }
    }

    /// There are no more entries; `end` is the end of the chain.
    ///
    /// # Errors
    /// The first [`Break`] that nobody has accepted.
    pub fn finish(mut self, end: Head) -> Result<(), Break> {
        for (line, _) in self.lines.range(end.sequence.saturating_add(1)..).flat_map(|(_, lines)| lines) {
            self.broken.push((*line, Break { sequence: end.sequence + 1, what: Fault::CutOff }));
        }
        let open = self.broken.iter().filter(|(line, _)| *line > self.accepted);
        match open.min_by_key(|(_, found)| found.sequence) {
            Some((_, found)) => Err(*found),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Detail, Event, next};
    use super::*;

    const AT: &str = "2026-03-01T08:00:00Z";

    fn chain(actions: &[&str]) -> Vec<Entry> {
        let mut head = Head::EMPTY;
        let entry = |action: &&str| {
            let event = Event {
                at: AT.to_owned(),
                actor: "a".to_owned(),
                role: "service".to_owned(),
                action: (*action).to_owned(),
                subject: None,
                detail: Detail::new(),
            };
            let entry = next(head, event).expect("an event in a test");
            head = entry.head();
            entry
        };
        actions.iter().map(entry).collect()
    }

    fn file(heads: &[Head]) -> String {
        heads.iter().map(|head| format!("{}\n", Line { head: *head, at: AT.to_owned() })).collect()
    }

    fn held(text: &str, entries: &[Entry]) -> Result<(), Break> {
        let mut anchors = Anchors::read(text.as_bytes());
        entries.iter().for_each(|e| anchors.follow(e));
        anchors.finish(entries.last().map_or(Head::EMPTY, Entry::head))
    }

    #[test]
    fn one_line_one_spelling() {
        let line = format!("7 sha256:{} {AT}", "ab".repeat(32));
        assert_eq!(line.parse::<Line>().expect("a line").to_string(), line);
        for wrong in [
            "",
            "7",
            &line.replace("7 ", "07 "),
            &line.replace("7 ", "7  "),
            &line.replace('Z', "+00:00"),
            &line.replace("ab", "AB"),
            &format!("{line} "),
            &line[..line.len() - 1],
        ] {
            assert_eq!(wrong.parse::<Line>(), Err(NotALine), "{wrong}");
        }
    }

    #[test]
    fn what_was_not_written_to_its_end_is_not_there() {
        let entries = chain(&["a", "b"]);
        let whole = file(&[entries[0].head(), entries[1].head()]);
        let first = whole.find('\n').expect("a line") + 1;
        for end in 0..whole.len() {
            let expected = if end < first { None } else { Some(entries[0].head()) };
            assert_eq!(last(&whole.as_bytes()[..end]).map(|l| l.head), expected, "{end}");
        }
        assert_eq!(last(whole.as_bytes()).map(|l| l.head), Some(entries[1].head()));
        // Written on after a power cut: the torn line stays where it is.
        let torn = format!("{}\u{0}\u{0}\n{}", &whole[..first + 9], &whole[first..]);
        assert_eq!(last(torn.as_bytes()).map(|l| l.head), Some(entries[1].head()));
        let anchors = Anchors::read(torn.as_bytes());
        assert_eq!((anchors.len(), anchors.unreadable()), (2, 1));
        assert_eq!(held(&torn, &entries), Ok(()));
    }

    #[test]
    fn a_chain_runs_through_every_line() {
        let entries = chain(&["a", "b", "c", "d"]);
        let other = chain(&["a", "x", "c", "d"]);
        let heads: Vec<Head> = [1, 3].map(|i: usize| entries[i].head()).to_vec();
        assert_eq!(held(&file(&heads), &entries), Ok(()));
        assert_eq!(held("", &entries), Ok(()));
        let broken = |sequence, what| Err(Break { sequence, what });
        assert_eq!(held(&file(&heads), &entries[..3]), broken(4, Fault::CutOff));
        assert_eq!(held(&file(&heads), &[]), broken(1, Fault::CutOff));
        assert_eq!(held(&file(&heads), &other), broken(2, Fault::Forked), "the first, not the last");
    }

    #[test]
    fn what_a_person_accepted_stays_accepted_and_nothing_after_it() {
        let lost = chain(&["a", "b", "c"]);
        let entries = chain(&["a", "x", ACCEPT, "d"]);
        let before = [lost[1].head(), lost[2].head()];
        assert!(held(&file(&before), &entries).is_err());
        let accepted = file(&[before[0], before[1], entries[2].head(), entries[3].head()]);
        assert_eq!(held(&accepted, &entries), Ok(()));
        // The same entry does not excuse what goes wrong later.
        let found = held(&accepted, &entries[..3]).expect_err("cut off");
        assert_eq!((found.sequence, found.what), (4, Fault::CutOff));
        // An entry that is not the chain's excuses nothing.
        let forged = chain(&["a", "b", ACCEPT]);
        let found = held(&file(&[before[0], forged[2].head()]), &entries).expect_err("forked");
        assert_eq!((found.sequence, found.what), (2, Fault::Forked));
    }
}
