//! ALBI: albumin and bilirubin, nothing else.

use super::inputs::Inputs;
use super::number::round;
use super::options::Options;
use super::result::{Score, Status};
use super::span::{BILIRUBIN_UMOL, Span, dec, open, weighted};
use rust_decimal::Decimal;

// # Source
// Johnson 2015, J Clin Oncol 33:550, doi 10.1200/JCO.2014.57.9151
// > (log10 bilirubin umol/L x 0.66) + (albumin g/L x -0.085)
// Grade 1 up to -2.60, grade 2 above that and up to -1.39, grade 3 above -1.39. The grade is read from the score before rounding: -1.3866 prints as -1.39 and is grade 3.
fn grade(raw: Decimal) -> u8 {
    match raw {
        x if x <= const { dec("-2.60") } => 1,
        x if x <= const { dec("-1.39") } => 2,
        _ => 3,
    }
}

pub(super) fn score(inputs: &Inputs, options: &Options) -> Score {
    let bilirubin = Span::positive(inputs.bilirubin_total).and_then(|x| x.scaled(BILIRUBIN_UMOL));
    let albumin = Span::positive(inputs.albumin);
    let raw = || {
        let terms = [(const { dec("0.66") }, bilirubin?.log10()?), (-options.albi_coefficient, albumin?)];
        weighted(Decimal::ZERO, &terms)
    };
    let raw = raw();
    let open = [("bilirubin_total", open(bilirubin)), ("albumin", open(albumin))];
    let mut score = Score::of(raw, |raw| round(raw, 4), &open);
    let grades = raw.map(|raw| (grade(raw.low), grade(raw.high)));
    match score.status {
        Status::Known => score.grade = grades.map(|(low, _)| low),
        Status::Range => (score.grade_low, score.grade_high) = grades.unzip(),
        Status::Unknown => {}
    }
    score
}
