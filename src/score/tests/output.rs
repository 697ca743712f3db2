//! The JSON that others read, and the options that a trial writes.

use super::*;

fn json(name: &str, inputs: &Inputs) -> String {
    serde_json::to_string(&score(name, inputs)).expect("a score is plain JSON")
}

#[test]
fn one_line_a_score() {
    let albi = Inputs { bilirubin_total: x("1"), albumin: x("38"), ..Inputs::default() };
    let no_sodium = Inputs { sodium: None, ..patient() };
    let table = [
        ("meld_unos", patient(), r#"{"status":"known","value":20,"raw":20.081424837415}"#),
        ("meld_na", patient(), r#"{"status":"known","value":24,"raw":23.96}"#),
        ("meld_na", no_sodium, r#"{"status":"range","low":20,"high":28,"missing":["sodium"]}"#),
        ("meld_na", Inputs { inr: None, ..patient() }, r#"{"status":"unknown","missing":["inr"]}"#),
        ("meld3", patient(), r#"{"status":"known","value":24,"raw":24.45025937761,"uncapped":24}"#),
        ("albi", albi, r#"{"status":"known","value":-2.4162,"raw":-2.416222567141,"grade":2}"#),
        (
            "apri",
            patient(),
            r#"{"status":"known","value":2.22,"raw":2.222222222222,"ast_uln":40,"ast_uln_source":"result"}"#,
        ),
        (
            "child_pugh",
            patient(),
            r#"{"status":"known","value":8,"raw":8.0,"class":"B","points":{"bilirubin":2,"albumin":2,"coagulation":1,"ascites":2,"encephalopathy":1},"coagulation":"inr"}"#,
        ),
        (
            "child_pugh",
            Inputs { ascites: None, encephalopathy: None, ..patient() },
            r#"{"status":"range","low":7,"high":11,"class_low":"B","class_high":"C","missing":["ascites","encephalopathy"],"points":{"bilirubin":2,"albumin":2,"coagulation":1,"ascites":[1,3],"encephalopathy":[1,3]},"coagulation":"inr"}"#,
        ),
    ];
    for (name, inputs, expected) in table {
        assert_eq!(json(name, &inputs), expected);
    }
}

#[test]
fn a_number_is_the_float_nearest_to_it() {
    #[rustfmt::skip]
    let table = [
        "0", "-2.4162", "3.89", "20.081424837415", "9007199254740993", "0.0000000000000000000000000001",
        // Of more digits than a float holds: dividing two floats would round twice and miss it.
        "383442.78408619747", "1961976941.5762462", "6905606998526630.89",
    ];
    for text in table {
        assert_eq!(number::float(d(text)), text.parse::<f64>().expect("a float"), "{text}");
    }
}

#[test]
fn all_names_in_their_order() {
    let scores = all(&patient(), &Options::default());
    let names: Vec<_> = scores.iter().map(|(name, _)| name).collect();
    assert_eq!(names, NAMES);
    let without = all(&Inputs { clif_of: None, ..patient() }, &Options::default());
    assert!(without.get("clif_c_aclf").is_none());
    assert_eq!(without.iter().count(), NAMES.len() - 1);
    let map: serde_json::Value =
        serde_json::from_str(&serde_json::to_string(&scores).expect("plain JSON")).expect("JSON");
    assert!(NAMES.iter().all(|name| map[name]["status"] == "known"), "{map}");
    assert!(scores.get("meld").is_none());
}

#[test]
fn each_score_has_its_title_and_its_variables() {
    let table: [(&str, &str, &[&str]); NAMES.len()] = [
        ("meld_original", "MELD (original)", &["bilirubin_total", "inr", "creatinine", "etiology"]),
        ("meld_unos", "MELD (UNOS)", &["bilirubin_total", "inr", "creatinine"]),
        ("meld_na", "MELD-Na (OPTN 2016)", &["bilirubin_total", "inr", "creatinine", "sodium"]),
        ("meld3", "MELD 3.0", &["bilirubin_total", "inr", "creatinine", "sodium", "albumin"]),
        (
            "child_pugh",
            "Child-Pugh",
            &["bilirubin_total", "albumin", "inr", "pt", "ascites", "encephalopathy"],
        ),
        ("albi", "ALBI", &["bilirubin_total", "albumin"]),
        ("fib4", "FIB-4", &["ast", "alt", "platelets"]),
        ("apri", "APRI", &["ast", "platelets"]),
        ("ukeld", "UKELD", &["bilirubin_total", "inr", "creatinine", "sodium"]),
        ("meld_na_kim2008", "MELD-Na (Kim 2008)", &["bilirubin_total", "inr", "creatinine", "sodium"]),
        ("clif_c_aclf", "CLIF-C ACLF", &["clif_of", "wbc"]),
    ];
    assert_eq!(table.map(|(name, ..)| name).as_slice(), NAMES);
    let nothing_known = Inputs { clif_of: Some(Interval::ANY), ..Inputs::default() };
    for (name, called, variables) in table {
        assert_eq!(title(name), called);
        assert_eq!(variables_of(name), variables, "{name}");
        // They are what it asks for when nothing is known; seconds are asked for only in place of an INR.
        let mut asked = score(name, &nothing_known).missing;
        asked.retain(|input| !["age", "sex", "dialysis"].contains(input));
        asked.sort_unstable();
        let mut expected = variables.to_vec();
        expected.retain(|variable| *variable != "pt");
        expected.sort_unstable();
        assert_eq!(asked, expected, "{name}");
    }
    // The score of a trial to come goes by its name and has no variables here.
    assert_eq!((title("meld4"), variables_of("meld4")), ("meld4", [].as_slice()));
}

#[test]
fn a_trial_chooses_variants() {
    let text = r#"
        albi_coefficient = "0.0852"
        ast_uln_default = 35
        meld_original_floor = false
        [child_pugh]
        albumin_floor = 3.0
        inr_upper = "2.2"
        bilirubin_table = "34-51"
    "#;
    let options: Options = toml::from_str(text).expect("valid options");
    let expected = Options {
        child_pugh: ChildPughOptions {
            albumin_floor: AlbuminFloor::At3_0,
            inr_upper: InrUpper::At2_2,
            bilirubin_table: BilirubinTable::Si34To51,
        },
        albi_coefficient: d("0.0852"),
        ast_uln_default: d("35"),
        meld_original_floor: false,
    };
    assert_eq!(options, expected);
    assert_eq!(toml::from_str::<Options>("").expect("all have defaults"), Options::default());
    let written = toml::to_string(&expected).expect("options are plain TOML");
    assert_eq!(toml::from_str::<Options>(&written).expect("what was written"), expected);
    for (wrong, says) in [
        ("albi_coefficient = -0.085", "0.085 or 0.0852, not -0.085"),
        ("ast_uln_default = 0", "above 0 U/L"),
        ("child_pugh.albumin_floor = 28", "2.8 or 3.0 (g/dL), not 28"),
        ("child_pugh.inr_upper = 2.25", "2.3 or 2.2, not 2.25"),
        ("child_pugh.bilirubin_table = \"34\"", "34-51"),
        ("albi = 0.085", "unknown field"),
    ] {
        let error = toml::from_str::<Options>(wrong).expect_err(wrong).to_string();
        assert!(error.contains(says), "{wrong}: {error}");
    }
}

#[test]
fn words_are_never_guessed() {
    for word in ["some", "", "grade", "5", "controlled", "nil?"] {
        assert!(word.parse::<Ascites>().is_err(), "{word}");
        assert!(word.parse::<Encephalopathy>().is_err(), "{word}");
        let error = word.parse::<Sex>().expect_err("no sex").to_string();
        assert!(error.starts_with("sex takes female or male"), "{error}");
    }
    assert_eq!(" Moderate-Severe ".parse(), Ok(Ascites::ModerateSevere));
    for grade in [Encephalopathy::Grade0, Encephalopathy::Grade1To2, Encephalopathy::Grade3To4] {
        assert_eq!(grade.as_str().parse(), Ok(grade));
    }
    assert_eq!("cholestatic-alcoholic".parse(), Ok(Etiology::CholestaticAlcoholic));
}
