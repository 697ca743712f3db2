//! The funnel as a drawing: one bar a criterion, of those who remain. An SVG of its own with a background of
//! its own, without styles, scripts, fonts or links, so that it shows the same on a page with a strict policy,
//! in a report and on paper.
//!
//! Invariant: the same report gives the same bytes, and nothing is drawn that the report does not show. Colour
//! is never the only carrier: what is open is hatched, what is excluded is dotted, and every number is
//! written.

use super::report::{Cell, CriterionRow, Report};
use crate::protocol::CriterionKind;
use std::fmt::Write;

const WIDTH: u32 = 1000;
const MARGIN: u32 = 24;
/// Where ids and bars begin; the texts stand between them.
const ID: u32 = MARGIN;
const BAR: u32 = 400;
/// What the ids of the criteria take, at least and at most.
const ID_ROOM: [u32; 2] = [50, 130];
/// The bar of all patients.
const BAR_WIDTH: u32 = 330;
/// Right ends of the three columns of numbers.
const COLUMNS: [u32; 3] = [812, 890, WIDTH - MARGIN];
const ROW: u32 = 44;
const BAR_HEIGHT: u32 = 22;
/// Least width of a bar of somebody, in tenths: one patient of a hundred thousand is still to be seen.
const LEAST: u64 = 20;
/// Size of most letters, and of the smallest.
const SMALL: u32 = 13;
const SMALLEST: u32 = 12;

// Okabe and Ito's palette, which people with any of the colour deficiencies can tell apart.
const BLUE: &str = "#0072B2";
const ORANGE: &str = "#D55E00";
const INK: &str = "#1A1A1A";
const GREY: &str = "#555555";
const LINE: &str = "#BBBBBB";
const PAPER: &str = "#FFFFFF";

/// Draws the funnel.
pub fn draw(report: &Report<'_>) -> String {
    let ids = report.criteria.iter().map(|c| measured(c.id) * SMALL / 1000 + 14).max().unwrap_or_default();
    let mut svg = Drawing { text: String::new(), column: ID + ids.clamp(ID_ROOM[0], ID_ROOM[1]) };
    let rows_from = 176;
    let after = rows_from + ROW * (report.criteria.len() as u32 + 1) + 16;
    let height = after + 34 + ROW * 3 + if report.suppressed.is_some() { 44 } else { 20 };
    svg.head(report, height);
    svg.legend(94);
    for (right, lines) in
        COLUMNS.into_iter().zip([["excluded", "here"], ["open", "so far"], ["", "remaining"]])
    {
        for (line, y) in lines.into_iter().zip([rows_from - 34, rows_from - 18]) {
            svg.words(right, y, SMALLEST, GREY, "end", line);
        }
    }
    svg.line(BAR, rows_from, BAR, after - 8);
    let scale = Scale { all: report.patients.total.size() };
    svg.bold(ID, rows_from + 20, SMALL, "All patients");
    svg.bar(rows_from, &[(scale.of(report.patients.total), Fill::Sure)]);
    svg.number(COLUMNS[2], rows_from, report.patients.total, "");
    for (at, row) in report.criteria.iter().enumerate() {
        svg.criterion(rows_from + ROW * (at as u32 + 1), row, &scale);
    }
    svg.line(MARGIN, after, WIDTH - MARGIN, after);
    svg.line(BAR, after + 34, BAR, after + 34 + ROW * 3 - 8);
    svg.bold(ID, after + 24, SMALL, "After all criteria");
    let ends = [
        ("Eligible", report.patients.eligible, Fill::Sure),
        ("Undetermined: something is open", report.patients.undetermined, Fill::Open),
        ("Ineligible", report.patients.ineligible, Fill::Excluded),
    ];
    for (at, (word, cell, fill)) in ends.into_iter().enumerate() {
        let y = after + 34 + ROW * at as u32;
        svg.words(svg.column, y + 20, SMALL, INK, "start", word);
        svg.bar(y, &[(scale.of(cell), fill)]);
        svg.number(COLUMNS[2], y, cell, "");
    }
    if let Some(s) = report.suppressed {
        let text = format!(
            "Counts from 1 to {} are shown as <{}, all others rounded to the nearest multiple of {}.",
            s.below - 1,
            s.below,
            s.rounded_to
        );
        svg.words(ID, height - 18, SMALLEST, GREY, "start", &text);
    }
    svg.text.push_str("</svg>\n");
    svg.text
}

/// Patients to lengths, in tenths of a unit.
struct Scale {
    all: u64,
}

impl Scale {
    fn of(&self, cell: Cell) -> u64 {
        self.length(cell.size())
    }

    fn length(&self, patients: u64) -> u64 {
        if patients == 0 {
            return 0;
        }
        let whole = u128::from(BAR_WIDTH) * 10;
        // Rounded counts may add up to a little more than their rounded total: no bar leaves its room.
        let length = u128::from(patients) * whole / u128::from(self.all.max(1));
        u64::try_from(length.min(whole)).unwrap_or_default().max(LEAST)
    }
}

#[derive(Clone, Copy)]
enum Fill {
    Sure,
    Open,
    Excluded,
}

impl Fill {
    fn paint(self) -> &'static str {
        match self {
            Fill::Sure => BLUE,
            Fill::Open => "url(#funnel-open)",
            Fill::Excluded => "url(#funnel-excluded)",
        }
    }
    fn edge(self) -> &'static str {
        match self {
            Fill::Sure | Fill::Open => BLUE,
            Fill::Excluded => ORANGE,
        }
    }
}

struct Drawing {
    text: String,
    /// Where the texts of the criteria begin.
    column: u32,
}

impl Drawing {
    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(text);
        self.text.push('\n');
    }

    fn head(&mut self, report: &Report<'_>, height: u32) {
        let title = format!("Feasibility of {}", report.trial);
        self.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
             role=\"img\" aria-labelledby=\"funnel-title funnel-desc\" \
             font-family=\"Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', 'Noto Sans CJK SC', sans-serif\">"
        ));
        self.put(format_args!("<title id=\"funnel-title\">{}</title>", escaped(&title)));
        self.put(format_args!("<desc id=\"funnel-desc\">{}</desc>", escaped(&in_words(report))));
        self.put(format_args!(
            "<defs>\
             <pattern id=\"funnel-open\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
             <rect width=\"7\" height=\"7\" fill=\"{PAPER}\"/><rect width=\"2.5\" height=\"7\" fill=\"{BLUE}\"/></pattern>\
             <pattern id=\"funnel-excluded\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">\
             <rect width=\"6\" height=\"6\" fill=\"{PAPER}\"/><circle cx=\"3\" cy=\"3\" r=\"1.5\" fill=\"{ORANGE}\"/></pattern>\
             </defs>"
        ));
        // A background of its own: black letters on a dark page could not be read.
        self.put(format_args!("<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"{PAPER}\"/>"));
        self.bold(MARGIN, 40, 20, &title);
        let days = match report.as_of {
            None => "nobody was screened".to_owned(),
            Some(d) if d.first == d.last => format!("as of {}", d.first),
            Some(d) => format!("judged from {} to {}", d.first, d.last),
        };
        let definition = report.definition.get(.."sha256:".len() + 12).unwrap_or(report.definition);
        let text = format!(
            "{} patients, {days}; definition {definition}; criteria in the protocol's order",
            grouped(report.patients.total)
        );
        self.words(MARGIN, 64, SMALL, GREY, "start", &text);
    }

    fn legend(&mut self, y: u32) {
        let entries = [
            (Fill::Sure, "remaining, nothing open so far", MARGIN),
            (Fill::Open, "remaining, something open so far", MARGIN + 272),
            (Fill::Excluded, "excluded by this criterion", MARGIN + 558),
        ];
        for (fill, word, x) in entries {
            self.rect(u64::from(x) * 10, y, 260, 16, fill);
            self.words(x + 34, y + 13, SMALL, INK, "start", word);
        }
    }

    fn criterion(&mut self, y: u32, row: &CriterionRow<'_>, scale: &Scale) {
        let kind = match row.kind {
            CriterionKind::Inclusion => "inclusion",
            CriterionKind::Exclusion => "exclusion",
        };
        self.put(format_args!(
            "<g><title>{}</title>",
            escaped(&format!("{} ({kind}): {}", row.id, row.text))
        ));
        let room = |width: u32| width * 1000 / SMALL;
        let mut id = row.id.to_owned();
        shorten(&mut id, room(self.column - ID - 8), false);
        self.bold(ID, y + 20, SMALL, &id);
        let lines = wrapped(row.text, room(BAR - self.column - 12));
        let top = if lines.len() == 1 { y + 20 } else { y + 12 };
        for (line, y) in lines.iter().zip([top, top + 16]) {
            self.words(self.column, y, SMALL, INK, "start", line);
        }
        let order = &row.in_order;
        let open = order.remaining_open.size().min(order.remaining.size());
        self.bar(
            y,
            &[
                (scale.length(order.remaining.size() - open), Fill::Sure),
                (scale.length(open), Fill::Open),
                (scale.of(order.excluded), Fill::Excluded),
            ],
        );
        let sign = if matches!(order.excluded, Cell::Count(1..)) { "\u{2212}" } else { "" };
        self.number(COLUMNS[0], y, order.excluded, sign);
        self.number(COLUMNS[1], y, order.remaining_open, "");
        self.number(COLUMNS[2], y, order.remaining, "");
        self.put(format_args!("</g>"));
    }

    /// Parts of a bar side by side, from the axis on.
    fn bar(&mut self, y: u32, parts: &[(u64, Fill)]) {
        let mut x = u64::from(BAR) * 10;
        let end = x + u64::from(BAR_WIDTH) * 10 + 2 * LEAST;
        for (length, fill) in parts {
            let length = (*length).min(end.saturating_sub(x));
            if length > 0 {
                self.rect(x, y + 5, length, BAR_HEIGHT, *fill);
                x += length;
            }
        }
    }

    /// `x` and `width` in tenths.
    fn rect(&mut self, x: u64, y: u32, width: u64, height: u32, fill: Fill) {
        self.put(format_args!(
            "<rect x=\"{}.{}\" y=\"{y}\" width=\"{}.{}\" height=\"{height}\" fill=\"{}\" stroke=\"{}\" stroke-width=\"1\"/>",
            x / 10,
            x % 10,
            width / 10,
            width % 10,
            fill.paint(),
            fill.edge()
        ));
    }

    fn line(&mut self, x: u32, y: u32, to_x: u32, to_y: u32) {
        self.put(format_args!("<path d=\"M{x} {y}L{to_x} {to_y}\" stroke=\"{LINE}\" stroke-width=\"1\"/>"));
    }

    fn number(&mut self, right: u32, y: u32, cell: Cell, sign: &str) {
        let colour = if cell.is_zero() { GREY } else { INK };
        self.words(right, y + 20, SMALL, colour, "end", &format!("{sign}{}", grouped(cell)));
    }

    fn words(&mut self, x: u32, y: u32, size: u32, colour: &str, anchor: &str, text: &str) {
        if !text.is_empty() {
            self.put(format_args!(
                "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" fill=\"{colour}\" text-anchor=\"{anchor}\">{}</text>",
                escaped(text)
            ));
        }
    }

    fn bold(&mut self, x: u32, y: u32, size: u32, text: &str) {
        self.put(format_args!(
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" font-weight=\"bold\" fill=\"{INK}\">{}</text>",
            escaped(text)
        ));
    }
}

/// The drawing for somebody who cannot see it.
fn in_words(report: &Report<'_>) -> String {
    let p = &report.patients;
    let mut words = format!(
        "Of {} patients {} are eligible, {} undetermined and {} ineligible. In the protocol's order:",
        p.total, p.eligible, p.undetermined, p.ineligible
    );
    for row in &report.criteria {
        let o = &row.in_order;
        // Writing to a String cannot fail.
        let _ = write!(
            words,
            " {} excludes {} of {}, {} remain, {} of them open so far.",
            row.id, o.excluded, o.entering, o.remaining, o.remaining_open
        );
    }
    words
}

/// A count with its thousands apart.
fn grouped(cell: Cell) -> String {
    let digits = cell.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, c) in digits.chars().enumerate() {
        let left = digits.len() - at;
        if at > 0 && left.is_multiple_of(3) && digits.as_bytes()[at - 1].is_ascii_digit() {
            text.push(',');
        }
        text.push(c);
    }
    text
}

/// A text on two lines at most, each no wider than `room` (in thousandths of the letters' size); what does not
/// fit gives way to an ellipsis.
fn wrapped(text: &str, room: u32) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words(text) {
        let line = lines.last_mut().expect("there is always a line");
        let joined = format!("{line}{word}");
        if line.is_empty() || measured(joined.trim_end()) <= room {
            *line = joined;
        } else {
            lines.push(word.trim_start().to_owned());
        }
    }
    let is_cut = lines.len() > 2;
    lines.truncate(2);
    for line in &mut lines {
        *line = line.trim_end().to_owned();
        shorten(line, room, false);
    }
    if let (Some(last), true) = (lines.last_mut(), is_cut) {
        shorten(last, room, true);
    }
    lines
}

/// Takes letters off the end until the line fits, with an ellipsis for what was taken.
fn shorten(line: &mut String, room: u32, mut is_cut: bool) {
    let ellipsis = measured("…");
    while !line.is_empty() && measured(line) + if is_cut { ellipsis } else { 0 } > room {
        line.pop();
        is_cut = true;
    }
    if is_cut {
        line.truncate(line.trim_end_matches([' ', ',', ';', '，', '、']).len());
        line.push('…');
    }
}

/// Pieces between which a line may break: after a blank, and on both sides of a wide letter, which needs none.
fn words(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut from, mut before) = (0, None);
    for (at, c) in text.char_indices() {
        if at > from && before.is_some_and(|b| b == ' ' || (is_wide(c) && !is_closing(c)) || is_wide(b)) {
            pieces.push(&text[from..at]);
            from = at;
        }
        before = Some(c);
    }
    pieces.push(&text[from..]);
    pieces
}

fn is_wide(c: char) -> bool {
    matches!(c as u32, 0x1100..=0x115F | 0x2E80..=0xFFDC)
}

/// May not begin a line.
fn is_closing(c: char) -> bool {
    matches!(c, '，' | '、' | '。' | '；' | '：' | '）' | '》')
}

/// The width of a text in thousandths of its letters' size, rather too wide than too narrow: which of the
/// fonts there is cannot be known here, and the widest of them is taken.
fn measured(text: &str) -> u32 {
    text.chars()
        .map(|c| match c {
            c if is_wide(c) => 1000,
            'i' | 'j' | 'l' | '.' | ',' | ';' | ':' | '\'' | '|' | '!' | ' ' => 320,
            'f' | 't' | 'r' | '(' | ')' | '-' | '/' | 'I' => 420,
            'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' => 1000,
            'A'..='Z' => 750,
            _ => 640,
        })
        .sum()
}

/// A text as the content of an element. What XML does not allow at all is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\u{0}'..='\u{1F}' | '\u{7F}'..='\u{9F}' | '\u{FFFE}' | '\u{FFFF}' => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        for (text, expected) in [
            ("a < b & c > \"d\" 'e'", "a &lt; b &amp; c &gt; &quot;d&quot; &#39;e&#39;"),
            ("</text><script>", "&lt;/text&gt;&lt;script&gt;"),
            ("a\u{0}b\u{1b}c\u{fffe}\nd", "a\u{fffd}b\u{fffd}c\u{fffd} d"),
            ("肝硬化 ≥ 3", "肝硬化 ≥ 3"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn texts_are_wrapped_into_two_lines_and_fit() {
        for (text, lines) in [
            ("HIV", 1),
            ("Age 18 to 80 years", 1),
            ("Allergic asthma, allergic urticaria, eczema, or a history of several", 2),
            (&"word ".repeat(60), 2),
            (&"x".repeat(300), 1),
            (&"W".repeat(300), 1),
            (&"肝".repeat(300), 2),
            ("", 1),
        ] {
            let all = wrapped(text, 24_000);
            assert_eq!(all.len(), lines, "{text}: {all:?}");
            assert!(all.iter().all(|line| measured(line) <= 24_000), "{text}: {all:?}");
            let letters = |s: &str| s.chars().filter(|c| !c.is_whitespace()).count();
            let shown: usize = all.iter().map(|line| letters(line)).sum();
            let is_cut = all.iter().any(|line| line.ends_with('…'));
            assert_eq!(is_cut, shown < letters(text), "{text}: {all:?}");
        }
        assert_eq!(wrapped("one two", 24_000), ["one two"]);
    }

    #[test]
    fn counts_are_grouped_and_bars_keep_to_their_room() {
        for (cell, text) in [
            (Cell::Count(0), "0"),
            (Cell::Count(999), "999"),
            (Cell::Count(1000), "1,000"),
            (Cell::Count(1_234_567), "1,234,567"),
            (Cell::Below(5), "<5"),
            (Cell::Below(100), "<100"),
            (Cell::Below(1000), "<1,000"),
        ] {
            assert_eq!(grouped(cell), text);
        }
        let whole = u64::from(BAR_WIDTH) * 10;
        for (all, patients, length) in [
            (0, 0, 0),
            (0, 3, whole),
            (10, 10, whole),
            (10, 5, whole / 2),
            (100_000, 1, LEAST),
            (10, 15, whole),
            (u64::MAX, u64::MAX, whole),
        ] {
            assert_eq!(Scale { all }.length(patients), length, "{patients} of {all}");
        }
    }
}
