//! Versions of resources to bytes and back, for the runs that a large input is sorted in. The bytes live
//! no longer than the command that wrote them: there is no format to keep stable.

use crate::clinical::interval::{Bound, Interval};
use crate::clinical::time::When;
use crate::collection::Held;
use crate::fact::*;
use crate::mapping::Mapped;
use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;
use std::borrow::Cow;

/// The bytes are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the temporary file does not hold what was written to it")]
pub struct Damaged;

type Result<T> = std::result::Result<T, Damaged>;

/// Writes a version of the resource `reference`, without its reference and its subject.
pub fn encode(held: &Held<'_>, reference: &str, out: &mut Vec<u8>) {
    let mut w = Writer { out, reference, version: held.version.as_deref() };
    let has = |yes: bool, bit: u8| if yes { 1 << bit } else { 0 };
    let (facts, gaps) = (&held.mapped.facts, &held.mapped.gaps);
    w.byte(
        has(held.deleted, 0)
            | has(held.content != 0, 1)
            | has(!facts.is_empty(), 2)
            | has(!gaps.is_empty(), 3)
            | has(held.version.is_some(), 4)
            | has(held.last_updated.is_some(), 5),
    );
    if let Some(version) = &held.version {
        w.text(version);
    }
    if let Some(updated) = &held.last_updated {
        w.text(updated);
    }
    if held.content != 0 {
        w.out.extend_from_slice(&held.content.to_le_bytes());
    }
    if !facts.is_empty() {
        w.number(facts.len() as u64);
        for fact in facts {
            w.fact(fact);
        }
    }
    if !gaps.is_empty() {
        w.number(gaps.len() as u64);
        for gap in gaps {
            w.gap(gap);
        }
    }
}

/// Reads what [`encode`] wrote.
pub fn decode<'a>(bytes: &'a [u8], reference: &'a str, subject: Option<&'a str>) -> Result<Held<'a>> {
    let mut r = Reader { bytes, reference, version: None };
    let flags = r.byte()?;
    let is = |bit: u8| flags & (1 << bit) != 0;
    let version = if is(4) { Some(r.text()?) } else { None };
    let last_updated = if is(5) { Some(r.text()?) } else { None };
    r.version = version;
    let content = if is(1) { r.fixed().map(u64::from_le_bytes)? } else { 0 };
    let facts = if is(2) { r.list(Reader::fact)? } else { Vec::new() };
    let gaps = if is(3) { r.list(Reader::gap)? } else { Vec::new() };
    if !r.bytes.is_empty() {
        return Err(Damaged);
    }
    Ok(Held {
        version: version.map(Cow::Borrowed),
        last_updated: last_updated.map(Cow::Borrowed),
        subject: subject.map(Cow::Borrowed),
        deleted: is(0),
        content,
        mapped: Mapped { facts, gaps },
    })
}

/// Are there neither facts nor gaps in it? Then it matters only beside other versions.
pub fn is_bare(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|flags| flags & 0b1100 == 0)
}

impl From<Damaged> for std::io::Error {
    fn from(damaged: Damaged) -> Self {
        std::io::Error::other(damaged)
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    reference: &'a str,
    version: Option<&'a str>,
}

impl Writer<'_> {
    fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn option<T: ?Sized>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.byte(value.is_some().into());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn words(&mut self, text: &Option<Box<str>>) {
        self.option(text.as_deref(), Self::text);
    }

    fn flag(&mut self, flag: Option<bool>) {
        self.byte(flag.map_or(2, u8::from));
    }

    fn indices(&mut self, indices: &[Index]) {
        self.number(indices.len() as u64);
        for index in indices {
            self.number((*index).into());
        }
    }

    fn decimal(&mut self, decimal: &Decimal) {
        self.out.extend_from_slice(&decimal.serialize());
    }

    fn bound(&mut self, bound: Bound) {
        match bound {
            Bound::Unbounded => self.byte(0),
            Bound::Including(x) => {
                self.byte(1);
                self.decimal(&x);
            }
            Bound::Excluding(x) => {
                self.byte(2);
                self.decimal(&x);
            }
        }
    }

    fn interval(&mut self, interval: &Interval) {
        if let Some(exact) = interval.exact() {
            self.byte(3);
            return self.decimal(&exact);
        }
        self.bound(interval.low);
        self.bound(interval.high);
    }

    fn date(&mut self, date: NaiveDate) {
        self.out.extend_from_slice(&date.num_days_from_ce().to_le_bytes());
    }

    fn when(&mut self, when: &When) {
        let When { text, first, last, earliest, latest, begun, ended, timed } = when;
        self.text(text);
        for date in [first, last, begun, ended] {
            self.date(*date);
        }
        self.out.extend_from_slice(&earliest.to_le_bytes());
        self.out.extend_from_slice(&latest.to_le_bytes());
        self.byte((*timed).into());
    }

    fn maybe_when(&mut self, when: &Option<When>) {
        self.option(when.as_ref(), Self::when);
    }

    /// Nearly always the resource itself.
    fn source(&mut self, source: &Source) {
        let own = *source.reference == *self.reference && source.version.as_deref() == self.version;
        self.byte(own.into());
        if !own {
            self.text(&source.reference);
            self.words(&source.version);
        }
    }

    fn received(&mut self, received: &Received) {
        self.text(&received.value);
        self.words(&received.unit);
    }

    fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Person(Person { source, birth, sex, deceased, replaced_by }) => {
                self.byte(0);
                self.source(source);
                self.maybe_when(birth);
                self.byte(match sex {
                    None => 0,
                    Some(Sex::Female) => 1,
                    Some(Sex::Male) => 2,
                });
                self.option(deceased.as_ref(), Self::maybe_when);
                self.words(replaced_by);
            }
            Fact::Measurement(m) => {
                let Measurement { variable, value, received, effective, rank, flag, upper_normal, source } =
                    m;
                self.byte(1);
                self.number((*variable).into());
                self.interval(value);
                self.received(received);
                self.when(effective);
                self.number((*rank).into());
                self.words(flag);
                self.option(upper_normal.as_ref(), Self::decimal);
                self.source(source);
            }
            Fact::Answer(Answer { variable, answer, received, effective, rank, source }) => {
                self.byte(2);
                self.number((*variable).into());
                self.number((*answer).into());
                self.received(received);
                self.when(effective);
                self.number((*rank).into());
                self.source(source);
            }
            Fact::Finding(finding) => {
                self.byte(3);
                self.finding(finding);
            }
            Fact::Consent(ConsentFact { state, this_trial, study, when, starts, expires, source }) => {
                self.byte(4);
                self.byte((*state == ConsentState::Given).into());
                self.flag(*this_trial);
                self.words(study);
                self.maybe_when(when);
                self.maybe_when(starts);
                self.maybe_when(expires);
                self.source(source);
            }
            Fact::Participation(Participation { study, ours, screening_only, ongoing, when, source }) => {
                self.byte(5);
                self.words(study);
                self.byte(u8::from(*ours) | u8::from(*screening_only) << 1 | u8::from(*ongoing) << 2);
                self.maybe_when(when);
                self.source(source);
            }
            Fact::Attestation(Attestation { criterion, applies, when, source }) => {
                self.byte(6);
                self.number((*criterion).into());
                self.byte((*applies).into());
                self.when(when);
                self.source(source);
            }
            Fact::Shared(Shared::Drug { sets, hints, unreadable, classified, code }) => {
                self.byte(7);
                self.indices(sets);
                self.indices(hints);
                self.byte(u8::from(*unreadable) | u8::from(*classified) << 1);
                self.text(code);
            }
            Fact::Shared(Shared::Study { ours }) => {
                self.byte(8);
                self.byte((*ours).into());
            }
        }
    }

    fn finding(&mut self, finding: &Finding) {
        let Finding {
            kind,
            sets,
            hints,
            routes,
            has_route,
            unreadable,
            classified,
            medication,
            certainty,
            current,
            when,
            category,
            code,
            source,
        } = finding;
        self.byte(*kind as u8);
        for indices in [sets, hints, routes] {
            self.indices(indices);
        }
        let unconfirmed = *certainty == Certainty::Unconfirmed;
        self.byte(
            u8::from(*has_route)
                | u8::from(*unreadable) << 1
                | u8::from(*classified) << 2
                | u8::from(unconfirmed) << 3,
        );
        self.words(medication);
        self.flag(*current);
        self.maybe_when(when);
        self.words(category);
        self.text(code);
        self.source(source);
    }

    fn gap(&mut self, Gap { reference, reason, path, variable, detail }: &Gap) {
        self.text(reference);
        self.byte(*reason as u8);
        self.text(path);
        self.words(variable);
        self.words(detail);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    reference: &'a str,
    version: Option<&'a str>,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.bytes.split_first().ok_or(Damaged)?;
        self.bytes = rest;
        Ok(*first)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (fixed, rest) = self.bytes.split_first_chunk().ok_or(Damaged)?;
        self.bytes = rest;
        Ok(*fixed)
    }

    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    fn index(&mut self) -> Result<u16> {
        self.number()?.try_into().map_err(|_| Damaged)
    }

    fn text(&mut self) -> Result<&'a str> {
        let length = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        let (text, rest) = self.bytes.split_at_checked(length).ok_or(Damaged)?;
        self.bytes = rest;
        std::str::from_utf8(text).map_err(|_| Damaged)
    }

    fn words(&mut self) -> Result<Option<Box<str>>> {
        self.option(|r| r.text().map(Box::from))
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Damaged),
        }
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        (0..self.number()?).map(|_| read(self)).collect()
    }

    fn flag(&mut self) -> Result<Option<bool>> {
        Ok(match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        })
    }

    fn indices(&mut self) -> Result<Box<[Index]>> {
        Ok(self.list(Self::index)?.into())
    }

    fn decimal(&mut self) -> Result<Decimal> {
        Ok(Decimal::deserialize(self.fixed()?))
    }

    fn interval(&mut self) -> Result<Interval> {
        let low = match self.byte()? {
            3 => return Ok(Interval::exactly(self.decimal()?)),
            kind => self.bound(kind)?,
        };
        let kind = self.byte()?;
        Ok(Interval { low, high: self.bound(kind)? })
    }

    fn bound(&mut self, kind: u8) -> Result<Bound> {
        match kind {
            0 => Ok(Bound::Unbounded),
            1 => Ok(Bound::Including(self.decimal()?)),
            2 => Ok(Bound::Excluding(self.decimal()?)),
            _ => Err(Damaged),
        }
    }

    fn date(&mut self) -> Result<NaiveDate> {
        NaiveDate::from_num_days_from_ce_opt(i32::from_le_bytes(self.fixed()?)).ok_or(Damaged)
    }

    fn when(&mut self) -> Result<When> {
        let text = self.text()?.into();
        let [first, last, begun, ended] = [self.date()?, self.date()?, self.date()?, self.date()?];
        let [earliest, latest] = [i64::from_le_bytes(self.fixed()?), i64::from_le_bytes(self.fixed()?)];
        Ok(When { text, first, last, earliest, latest, begun, ended, timed: self.byte()? == 1 })
    }

    fn maybe_when(&mut self) -> Result<Option<When>> {
        self.option(Self::when)
    }

    fn source(&mut self) -> Result<Source> {
        match self.byte()? {
            1 => Ok(Source { reference: self.reference.into(), version: self.version.map(Box::from) }),
            _ => Ok(Source { reference: self.text()?.into(), version: self.words()? }),
        }
    }

    fn received(&mut self) -> Result<Received> {
        Ok(Received { value: self.text()?.into(), unit: self.words()? })
    }

    fn fact(&mut self) -> Result<Fact> {
        Ok(match self.byte()? {
            0 => Fact::Person(Person {
                source: self.source()?,
                birth: self.maybe_when()?,
                sex: match self.byte()? {
                    1 => Some(Sex::Female),
                    2 => Some(Sex::Male),
                    _ => None,
                },
                deceased: self.option(Self::maybe_when)?,
                replaced_by: self.words()?,
            }),
            1 => Fact::Measurement(Measurement {
                variable: self.index()?,
                value: self.interval()?,
                received: self.received()?,
                effective: self.when()?,
                rank: self.index()?,
                flag: self.words()?,
                upper_normal: self.option(Self::decimal)?,
                source: self.source()?,
            }),
            2 => Fact::Answer(Answer {
                variable: self.index()?,
                answer: self.index()?,
                received: self.received()?,
                effective: self.when()?,
                rank: self.index()?,
                source: self.source()?,
            }),
            3 => Fact::Finding(self.finding()?),
            4 => Fact::Consent(ConsentFact {
                state: if self.byte()? == 1 { ConsentState::Given } else { ConsentState::NotGiven },
                this_trial: self.flag()?,
                study: self.words()?,
                when: self.maybe_when()?,
                starts: self.maybe_when()?,
                expires: self.maybe_when()?,
                source: self.source()?,
            }),
            5 => {
                let study = self.words()?;
                let flags = self.byte()?;
                Fact::Participation(Participation {
                    study,
                    ours: flags & 1 != 0,
                    screening_only: flags & 2 != 0,
                    ongoing: flags & 4 != 0,
                    when: self.maybe_when()?,
                    source: self.source()?,
                })
            }
            6 => Fact::Attestation(Attestation {
                criterion: self.index()?,
                applies: self.byte()? == 1,
                when: self.when()?,
                source: self.source()?,
            }),
            7 => {
                let (sets, hints, flags) = (self.indices()?, self.indices()?, self.byte()?);
                Fact::Shared(Shared::Drug {
                    sets,
                    hints,
                    unreadable: flags & 1 != 0,
                    classified: flags & 2 != 0,
                    code: self.text()?.into(),
                })
            }
            8 => Fact::Shared(Shared::Study { ours: self.byte()? == 1 }),
            _ => return Err(Damaged),
        })
    }

    fn finding(&mut self) -> Result<Finding> {
        let kind = *Kind::ALL.get(usize::from(self.byte()?)).ok_or(Damaged)?;
        let (sets, hints, routes) = (self.indices()?, self.indices()?, self.indices()?);
        let flags = self.byte()?;
        Ok(Finding {
            kind,
            sets,
            hints,
            routes,
            has_route: flags & 1 != 0,
            unreadable: flags & 2 != 0,
            classified: flags & 4 != 0,
            medication: self.words()?,
            certainty: if flags & 8 != 0 { Certainty::Unconfirmed } else { Certainty::Confirmed },
            current: self.flag()?,
            when: self.maybe_when()?,
            category: self.words()?,
            code: self.text()?.into(),
            source: self.source()?,
        })
    }

    fn gap(&mut self) -> Result<Gap> {
        Ok(Gap {
            reference: self.text()?.into(),
            reason: *Reason::ALL.get(usize::from(self.byte()?)).ok_or(Damaged)?,
            path: self.text()?.into(),
            variable: self.words()?,
            detail: self.words()?,
        })
    }
}
