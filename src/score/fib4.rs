//! FIB-4: age, transaminases and platelets.

use super::inputs::Inputs;
use super::number::round;
use super::result::Score;
use super::span::{Span, open};
use rust_decimal::Decimal;

// # Source
// Sterling 2006, Hepatology 43:1317, doi 10.1002/hep.21178
// > age [years] x AST [U/L] / (platelets [10*9/L] x square root of ALT [U/L])
fn formula(age: Decimal, ast: Decimal, platelets: Decimal, root_alt: Decimal) -> Option<Decimal> {
    age.checked_mul(ast)?.checked_div(platelets.checked_mul(root_alt)?)
}

// It rises with age and AST and falls with platelets and ALT, so two corners bound it.
pub(super) fn score(inputs: &Inputs) -> Score {
    let age = Span::not_negative(inputs.age);
    let ast = Span::positive(inputs.ast);
    let alt = Span::positive(inputs.alt);
    let platelets = Span::positive(inputs.platelets);
    let raw = || {
        let (age, ast, platelets, root) = (age?, ast?, platelets?, alt?.sqrt()?);
        Some(Span {
            low: formula(age.low, ast.low, platelets.high, root.high)?,
            high: formula(age.high, ast.high, platelets.low, root.low)?,
        })
    };
    let open = [("age", open(age)), ("ast", open(ast)), ("alt", open(alt)), ("platelets", open(platelets))];
    Score::of(raw(), |raw| round(raw, 2), &open)
}
