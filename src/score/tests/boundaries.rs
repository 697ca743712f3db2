//! Every cut-off, with one last digit to either side.

use super::*;

/// Points of one component, everything else at one point.
fn points(change: impl Fn(&mut Inputs), options: ChildPughOptions) -> u8 {
    let mut inputs = Inputs {
        bilirubin_total: x("1.0"),
        albumin: x("40"),
        inr: x("1.0"),
        ascites: Some(Ascites::None),
        encephalopathy: Some(Encephalopathy::Grade0),
        ..Inputs::default()
    };
    change(&mut inputs);
    let options = Options { child_pugh: options, ..Options::default() };
    let scores = all(&inputs, &options);
    let total = scores.get("child_pugh").and_then(|score| score.value).expect("a known Child-Pugh");
    u8::try_from(total - d("4")).expect("one component's points")
}

#[test]
fn child_pugh_cut_offs() {
    let standard = ChildPughOptions::default();
    let harrison = ChildPughOptions { albumin_floor: AlbuminFloor::At3_0, ..standard };
    let narrow = ChildPughOptions { inr_upper: InrUpper::At2_2, ..standard };
    #[rustfmt::skip]
    let table = [
        // component, options, (value, points)
        ("bilirubin", standard, [("1.99", 1), ("2.0", 2), ("2.01", 2), ("2.99", 2), ("3.0", 2), ("3.01", 3)]),
        ("pbc",       standard, [("3.99", 1), ("4.0", 2), ("4.01", 2), ("9.99", 2), ("10.0", 2), ("10.01", 3)]),
        ("albumin",   standard, [("35.1", 1), ("35", 2),  ("34.9", 2), ("28.1", 2), ("28", 2),  ("27.9", 3)]),
        ("albumin",   harrison, [("35.1", 1), ("35", 2),  ("34.9", 2), ("30.1", 2), ("30", 2),  ("29.9", 3)]),
        ("inr",       standard, [("1.69", 1), ("1.7", 2), ("1.71", 2), ("2.29", 2), ("2.3", 2), ("2.31", 3)]),
        ("inr",       narrow,   [("1.69", 1), ("1.7", 2), ("1.71", 2), ("2.19", 2), ("2.2", 2), ("2.21", 3)]),
        ("pt",        standard, [("3.9", 1),  ("4.0", 2), ("4.1", 2),  ("5.9", 2),  ("6.0", 2), ("6.1", 3)]),
    ];
    for (component, options, values) in table {
        for (value, expected) in values {
            let change = |inputs: &mut Inputs| match component {
                "bilirubin" => inputs.bilirubin_total = x(value),
                "pbc" => (inputs.bilirubin_total, inputs.pbc_or_psc) = (x(value), Some(true)),
                "albumin" => inputs.albumin = x(value),
                "inr" => inputs.inr = x(value),
                _ => (inputs.inr, inputs.pt_prolongation) = (None, x(value)),
            };
            assert_eq!(points(change, options), expected, "{component} {value} {options:?}");
        }
    }
    for (word, expected) in
        [("none", 1), ("mild", 2), ("slight", 2), ("moderate-severe", 3), ("moderate_severe", 3)]
    {
        assert_eq!(points(|inputs| inputs.ascites = word.parse().ok(), standard), expected, "ascites {word}");
    }
    for (word, expected) in
        [("0", 1), ("none", 1), ("1", 2), ("2", 2), ("1-2", 2), ("3", 3), ("4", 3), ("3-4", 3)]
    {
        assert_eq!(
            points(|inputs| inputs.encephalopathy = word.parse().ok(), standard),
            expected,
            "grade {word}"
        );
    }
}

#[test]
fn child_pugh_bilirubin_tables() {
    #[rustfmt::skip]
    let table = [
        // umol/L, converted, 34-50, 34-51, 35-51
        ("33.9", [1, 1, 1, 1]),
        ("34",   [1, 2, 2, 1]),
        ("34.1", [1, 2, 2, 1]),
        ("34.2", [2, 2, 2, 1]),
        ("34.9", [2, 2, 2, 1]),
        ("35",   [2, 2, 2, 2]),
        ("50",   [2, 2, 2, 2]),
        ("50.1", [2, 3, 2, 2]),
        ("51",   [2, 3, 2, 2]),
        ("51.1", [2, 3, 3, 3]),
        ("51.3", [2, 3, 3, 3]),
        ("51.4", [3, 3, 3, 3]),
    ];
    use BilirubinTable::{Converted, Si34To50, Si34To51, Si35To51};
    for (micromoles, expected) in table {
        let change = |inputs: &mut Inputs| {
            inputs.bilirubin_total = Interval::exactly(d(micromoles)).scaled(d("1"), d("17.1"))
        };
        let got = [Converted, Si34To50, Si34To51, Si35To51].map(|bilirubin_table| {
            points(change, ChildPughOptions { bilirubin_table, ..Default::default() })
        });
        assert_eq!(got, expected, "{micromoles} umol/L");
    }
}

#[test]
fn child_pugh_classes() {
    use Ascites as A;
    use Encephalopathy as E;
    #[rustfmt::skip]
    let table = [
        // bilirubin, albumin, INR, ascites, encephalopathy, total, class
        ("1", "40", "1", A::None,          E::Grade0,    5,  'A'),
        ("2", "40", "1", A::None,          E::Grade0,    6,  'A'),
        ("2", "30", "1", A::None,          E::Grade0,    7,  'B'),
        ("2", "30", "2", A::None,          E::Grade0,    8,  'B'),
        ("2", "30", "2", A::Mild,          E::Grade0,    9,  'B'),
        ("2", "30", "2", A::Mild,          E::Grade1To2, 10, 'C'),
        ("4", "20", "3", A::ModerateSevere, E::Grade1To2, 14, 'C'),
        ("4", "20", "3", A::ModerateSevere, E::Grade3To4, 15, 'C'),
    ];
    for (bilirubin, albumin, inr, ascites, encephalopathy, total, class) in table {
        let inputs = Inputs {
            bilirubin_total: x(bilirubin),
            albumin: x(albumin),
            inr: x(inr),
            ascites: Some(ascites),
            encephalopathy: Some(encephalopathy),
            ..Inputs::default()
        };
        let got = score("child_pugh", &inputs);
        assert_eq!((got.value, got.class), (Some(total.into()), Some(class)));
    }
}

#[test]
fn albi_grades_are_read_before_rounding() {
    let table = [
        // umol/L, g/L, value, grade
        ("32", "28", "-1.3866", 3),
        ("31", "28", "-1.3957", 2),
        // -1.39 and -2.60 themselves, reached exactly where log10 is 0 and 1
        ("1", "16.352941176470588235294117648", "-1.39", 2),
        ("1", "16.352941176470588235294117", "-1.39", 3),
        ("10", "38.352941176470588235294117648", "-2.6", 1),
        ("10", "38.352941176470588235294117", "-2.6", 2),
    ];
    for (bilirubin, albumin, value, grade) in table {
        let bilirubin_total = Interval::exactly(d(bilirubin)).scaled(d("1"), d("17.1"));
        let got = score("albi", &Inputs { bilirubin_total, albumin: x(albumin), ..Inputs::default() });
        assert_eq!(
            (got.value, got.grade),
            (Some(d(value)), Some(grade)),
            "{bilirubin} umol/L, {albumin} g/L"
        );
    }
}

#[test]
fn ties_round_up() {
    // 6 + 0.82 * 11 + 1.85 * 0.8 is 16.5 exactly; floats make it a hair less.
    let floors = Inputs { bilirubin_total: x("1"), inr: x("1"), creatinine: x("1"), ..patient() };
    let got = score("meld3", &Inputs { sodium: x("126"), albumin: x("27"), ..floors });
    assert_eq!((got.raw, got.value), (Some(16.5), Some(d("17"))));
    // 50/40 * 100 / 1000 is 0.125
    let got = score("apri", &Inputs { ast: x("50"), platelets: x("1000"), ..patient() });
    assert_eq!((got.raw, got.value), (Some(0.125), Some(d("0.13"))));
    // 50 * 49 / (1000 * sqrt(1.44)) is 2.041666..., and 50 * 54 / (1000 * sqrt(1.44)) is 2.25 exactly
    let got = score(
        "fib4",
        &Inputs { age: x("50"), ast: x("54"), platelets: x("1000"), alt: x("1.44"), ..patient() },
    );
    assert_eq!((got.raw, got.value), (Some(2.25), Some(d("2.25"))));
    let got = score(
        "fib4",
        &Inputs { age: x("50"), ast: x("30.3"), platelets: x("1000"), alt: x("1"), ..patient() },
    );
    assert_eq!((got.raw, got.value), (Some(1.515), Some(d("1.52"))));
}

#[test]
fn intermediate_rounding_decides_the_gate() {
    // Raw MELD 11.06 is above 11, MELD(i) is 11: sodium has no say. Without the rounding it would be 23.
    let inputs = Inputs {
        bilirubin_total: x("1.0"),
        inr: x("1.2"),
        creatinine: x("1.31"),
        sodium: x("125"),
        ..patient()
    };
    let meld = score("meld_unos", &inputs).raw.expect("known");
    assert!(meld > 11.0 && meld < 11.5, "{meld}");
    assert_eq!(score("meld_na", &inputs).value, Some(d("11")));
}

#[test]
fn meld3_is_capped_for_allocation_only() {
    let inputs = Inputs {
        bilirubin_total: x("40"),
        inr: x("3.5"),
        creatinine: x("3.0"),
        sodium: x("125"),
        albumin: x("15"),
        ..patient()
    };
    let got = score("meld3", &inputs);
    assert_eq!(got.value, Some(d("40")));
    let Detail::Uncapped(uncapped) = got.detail else { panic!("MELD 3.0 keeps the uncapped score") };
    assert!(uncapped > d("40"));
}
