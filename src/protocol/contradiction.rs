//! Criteria that cannot hold together: bounds that no value satisfies, inclusions that exclude each
//! other, an exclusion that covers an inclusion. Every pair is compared, two criteria alone as well.
//!
//! Only what is certain is reported: a rule that hides its contradiction deeper than in its own list
//! is not found.

use super::compile::Trial;
use super::rule::{Comparison, Rule};
use super::schema::CriterionKind;
use rust_decimal::Decimal;

/// The contradictions, each with the criterion at which it is reported.
pub fn all(trial: &Trial) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for c in &trial.criteria {
        c.rule.walk(&mut |rule| match rule {
            Rule::Age { at_least: Some(low), at_most: Some(high) } if low > high => {
                found.push((
                    c.id.clone(),
                    format!("criterion {}: no age is at least {low} and at most {high}", c.id),
                ));
            }
            Rule::Result { variable, bounds, .. } if Span::of(bounds).is_empty() => {
                let id = &trial.variables[*variable as usize].id;
                found.push((
                    c.id.clone(),
                    format!("criterion {}: no value of `{id}` satisfies its bounds", c.id),
                ));
            }
            Rule::All(rules) => {
                let apart = pairs(rules).any(|(a, b)| disjoint(a, b));
                if apart {
                    found.push((
                        c.id.clone(),
                        format!("criterion {}: two of its rules cannot both hold", c.id),
                    ));
                }
            }
            _ => {}
        });
    }
    for (i, a) in trial.criteria.iter().enumerate() {
        for b in &trial.criteria[i + 1..] {
            let text = match (a.kind, b.kind) {
                (CriterionKind::Inclusion, CriterionKind::Inclusion) => required(&a.rule)
                    .iter()
                    .any(|x| required(&b.rule).iter().any(|y| disjoint(x, y)))
                    .then(|| format!("criteria {} and {} cannot both be met", a.id, b.id)),
                (CriterionKind::Exclusion, CriterionKind::Exclusion) => None,
                _ => {
                    let (inclusion, exclusion) =
                        if a.kind == CriterionKind::Inclusion { (a, b) } else { (b, a) };
                    required(&inclusion.rule)
                        .iter()
                        .any(|x| sufficient(&exclusion.rule).iter().any(|y| implies(x, y)))
                        .then(|| format!("whoever meets {} is excluded by {}", inclusion.id, exclusion.id))
                }
            };
            if let Some(text) = text {
                found.push((b.id.clone(), text));
            }
        }
    }
    found
}

fn pairs(rules: &[Rule]) -> impl Iterator<Item = (&Rule, &Rule)> {
    rules.iter().enumerate().flat_map(move |(i, a)| rules[i + 1..].iter().map(move |b| (a, b)))
}

/// Rules that have to hold for this one to hold.
fn required(rule: &Rule) -> Vec<&Rule> {
    match rule {
        Rule::All(rules) => rules.iter().flat_map(required).chain([rule]).collect(),
        _ => vec![rule],
    }
}

/// Rules of which one is enough for this one to hold.
fn sufficient(rule: &Rule) -> Vec<&Rule> {
    match rule {
        Rule::Any(rules) => rules.iter().flat_map(sufficient).chain([rule]).collect(),
        _ => vec![rule],
    }
}

fn disjoint(a: &Rule, b: &Rule) -> bool {
    match (a, b) {
        (Rule::Sex(a), Rule::Sex(b)) => a != b,
        (Rule::Answer { variable: v1, is: a, .. }, Rule::Answer { variable: v2, is: b, .. }) => {
            v1 == v2 && a != b
        }
        _ => spans(a, b).is_some_and(|(a, b)| a.meet(&b).is_empty()),
    }
}

/// Does whatever satisfies `a` satisfy `b`?
fn implies(a: &Rule, b: &Rule) -> bool {
    if let Some((a, b)) = spans(a, b) {
        return a.is_within(&b);
    }
    match (a, b) {
        // Each is asked for by itself.
        (Rule::Attested, Rule::Attested) => false,
        _ => format!("{a:?}") == format!("{b:?}"),
    }
}

/// The values of one and the same quantity that two rules ask for.
fn spans(a: &Rule, b: &Rule) -> Option<(Span, Span)> {
    match (a, b) {
        (Rule::Age { at_least: l1, at_most: h1 }, Rule::Age { at_least: l2, at_most: h2 }) => {
            Some((Span::years(*l1, *h1), Span::years(*l2, *h2)))
        }
        (
            Rule::Result { variable: v1, bounds: b1, .. },
            Rule::Result { variable: v2, bounds: b2, within_days: w2 },
        ) if v1 == v2 && w2.is_none() => Some((Span::of(b1), Span::of(b2))),
        (Rule::Score { score: s1, at_least: l1 }, Rule::Score { score: s2, at_least: l2 }) if s1 == s2 => {
            let from = |l: &Decimal| Span { low: Some((*l, false)), high: None };
            Some((from(l1), from(l2)))
        }
        _ => None,
    }
}

/// Ends with whether they are themselves left out.
#[derive(Clone, Copy)]
struct Span {
    low: Option<(Decimal, bool)>,
    high: Option<(Decimal, bool)>,
}

impl Span {
    fn of(bounds: &[(Comparison, Decimal)]) -> Span {
        bounds.iter().fold(Span { low: None, high: None }, |span, (comparison, x)| {
            let (low, high) = match comparison {
                Comparison::AtLeast => (Some((*x, false)), None),
                Comparison::Above => (Some((*x, true)), None),
                Comparison::AtMost => (None, Some((*x, false))),
                Comparison::Below => (None, Some((*x, true))),
            };
            span.meet(&Span { low, high })
        })
    }

    fn years(low: Option<u32>, high: Option<u32>) -> Span {
        Span { low: low.map(|y| (y.into(), false)), high: high.map(|y| (y.into(), false)) }
    }

    fn meet(&self, other: &Span) -> Span {
        let low = match (self.low, other.low) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        // Of two equal upper ends the one that is left out is the lower.
        let high = match (self.high, other.high) {
            (Some(a), Some(b)) => Some(if (a.0, !a.1) <= (b.0, !b.1) { a } else { b }),
            (a, b) => a.or(b),
        };
        Span { low, high }
    }

    fn is_empty(&self) -> bool {
        match (self.low, self.high) {
            (Some((l, l_open)), Some((h, h_open))) => l > h || (l == h && (l_open || h_open)),
            _ => false,
        }
    }

    fn is_within(&self, outer: &Span) -> bool {
        let low = match (self.low, outer.low) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(inner), Some(outer)) => inner >= outer,
        };
        let high = match (self.high, outer.high) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(inner), Some(outer)) => (inner.0, !inner.1) <= (outer.0, !outer.1),
        };
        low && high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_bounds() {
        use Comparison::*;
        let span = |bounds: &[(Comparison, i64)]| {
            Span::of(&bounds.iter().map(|(c, x)| (*c, Decimal::from(*x))).collect::<Vec<_>>())
        };
        for (bounds, empty) in [
            (vec![(AtLeast, 5), (AtMost, 5)], false),
            (vec![(Above, 5), (AtMost, 5)], true),
            (vec![(AtLeast, 5), (Below, 5)], true),
            (vec![(AtLeast, 5), (Below, 3)], true),
            (vec![(AtLeast, 3), (Below, 5)], false),
            (vec![(AtLeast, 3)], false),
        ] {
            assert_eq!(span(&bounds).is_empty(), empty, "{bounds:?}");
        }
        for (inner, outer, within) in [
            (vec![(AtLeast, 7)], vec![(AtLeast, 5)], true),
            (vec![(AtLeast, 5)], vec![(Above, 5)], false),
            (vec![(Above, 5)], vec![(AtLeast, 5)], true),
            (vec![(AtLeast, 5), (AtMost, 9)], vec![(AtLeast, 5), (Below, 9)], false),
            (vec![(AtLeast, 5), (Below, 9)], vec![(AtLeast, 5), (AtMost, 9)], true),
            (vec![(AtLeast, 5)], vec![(AtMost, 9)], false),
        ] {
            assert_eq!(span(&inner).is_within(&span(&outer)), within, "{inner:?} in {outer:?}");
        }
    }
}
