//! APRI: AST over its upper limit of normal, and platelets.

use super::inputs::Inputs;
use super::number::round;
use super::options::Options;
use super::result::{Detail, Score};
use super::span::{Span, dec, open};
use rust_decimal::Decimal;

// # Source
// Wai 2003, Hepatology 38:518
// > (AST / upper limit of normal) x 100 / platelets [10*9/L]
fn formula(ast: Decimal, uln: Decimal, platelets: Decimal) -> Option<Decimal> {
    ast.checked_mul(const { dec("100") })?.checked_div(uln.checked_mul(platelets)?)
}

// It rises with AST and falls with platelets, so two corners bound it.
pub(super) fn score(inputs: &Inputs, options: &Options) -> Score {
    let ast = Span::positive(inputs.ast);
    let platelets = Span::positive(inputs.platelets);
    let own = inputs.ast_uln.filter(|uln| *uln > Decimal::ZERO);
    let uln = own.unwrap_or(options.ast_uln_default);
    let raw = || {
        let (ast, platelets) = (ast?, platelets?);
        Some(Span {
            low: formula(ast.low, uln, platelets.high)?,
            high: formula(ast.high, uln, platelets.low)?,
        })
    };
    let open = [("ast", open(ast)), ("platelets", open(platelets))];
    Score::of(raw(), |raw| round(raw, 2), &open).with(Detail::AstUln { uln, own: own.is_some() })
}
