//! Every scheme as it is written, and every mistake with its place.

use super::*;
use crate::protocol::check;
use crate::protocol::document::SiteFile;

const HEAD: &str = r#"[study]
id = "T"
system = "urn:t"
title = "t"
version = "1"
masking = "open"
source = "made up"
questionnaire = "urn:q"
[[arm]]
id = "a"
name = "A"
kind = "experimental"
description = "a"
[[arm]]
id = "b"
name = "B"
kind = "experimental"
description = "b"
[scores]
compute = ["meld_unos", "child_pugh"]
[[variable]]
id = "inr"
title = { en = "INR" }
unit = "1"
codes = { "http://loinc.org" = ["6301-6"] }
[[variable]]
id = "ascites"
title = { en = "ascites" }
codes = { "urn:t" = ["ascites"] }
  [[variable.answers]]
  id = "none"
  [[variable.answers]]
  id = "mild"
  [[variable.answers]]
  id = "moderate-severe"
[[criterion]]
id = "I1"
kind = "inclusion"
text = { en = "adult", zh = "成人" }
rule = { any = [{ age = { at_least = 18 } }, { answer = { variable = "ascites", is = "none" } }] }
[[criterion]]
id = "I2"
kind = "inclusion"
text = { en = "consent", zh = "同意" }
rule = { consent = {} }
[masking]
arm_visible_to = ["pharmacist"]
write_back = "withhold"
text = "everybody"
source = "made up"
"#;

fn read(text: String) -> (Option<Trial>, Vec<Finding>) {
    let definition = Definition::read(vec![("t.toml".into(), text)]).expect("TOML of this shape");
    let (trial, findings) = check::check(&definition, &SiteFile::default());
    (trial, findings.into_iter().filter(|f| f.severity != Severity::Note).collect())
}

const SEX: &str =
    "[[allocation.factor]]\nname = \"sex\"\nvariable = \"sex\"\nlevels = [\"female\", \"male\"]\n";

/// `scheme`, stratified by sex so many times under different names.
fn many(n: usize, scheme: &str) -> String {
    (0..n)
        .fold(scheme.to_owned(), |text, i| text + &SEX.replace("name = \"sex\"", &format!("name = \"s{i}\"")))
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn every_scheme_is_read_as_written() {
    let p = |text: &str| -> Probability { text.parse().expect("a probability") };
    let minimized = |text: &str, distance, weights: &[&str]| Scheme::Minimization {
        probability: p(text), distance, weights: weights.iter().map(|w| w.parse().expect("a weight")).collect(),
    };
    let table: Vec<(String, Scheme, &[&str])> = vec![
        ("scheme = \"permuted-blocks\"\nblock_sizes = [4, 6]\n".into(), Scheme::PermutedBlocks { sizes: vec![4, 6] }, &[""]),
        ("scheme = \"complete\"\n".into(), Scheme::Complete, &[""]),
        ("scheme = \"biased-coin\"\nprobability = 0.7\n".into(), Scheme::Efron { probability: p("0.7") }, &[""]),
        ("scheme = \"efron\"\nprobability = \"0.6667\"\n".into(), Scheme::Efron { probability: p("0.6667") }, &[""]),
        ("scheme = \"big-stick\"\nlimit = 3\n".into(), Scheme::BigStick { limit: 3 }, &[""]),
        ("scheme = \"imported\"\n".into(), Scheme::Imported { equal: true }, &[""]),
        ("scheme = \"imported\"\nequal = false\n".into(), Scheme::Imported { equal: false }, &[""]),
        (format!("scheme = \"complete\"\n{SEX}"), Scheme::Complete, &["sex=female", "sex=male"]),
        ("scheme = \"complete\"\n[[allocation.factor]]\nname = \"meld\"\nscore = \"meld_unos\"\ncuts = [\"15\"]\n".into(), Scheme::Complete, &["meld=<15", "meld=>=15"]),
        ("scheme = \"complete\"\n[[allocation.factor]]\nname = \"cp\"\nscore = \"child_pugh\"\nclass = [\"A+B\", \"C\"]\n".into(), Scheme::Complete, &["cp=A+B", "cp=C"]),
        ("scheme = \"complete\"\n[[allocation.factor]]\nname = \"inr\"\nvariable = \"inr\"\ncuts = [1.70, \"2\"]\n".into(), Scheme::Complete, &["inr=<1.7", "inr=1.7 to <2", "inr=>=2"]),
        (format!("scheme = \"minimization\"\nprobability = \"0.8\"\ndistance = \"range\"\n{SEX}weight = 0.5\n[[allocation.factor]]\nname = \"a\"\nvariable = \"ascites\"\nlevels = [\"none\", \"mild\", \"moderate-severe\"]\n"),
            minimized("0.8", Distance::Range, &["0.5", "1"]), &[""]),
        (format!("scheme = \"minimization\"\nprobability = 0.85\ndistance = \"variance\"\n{SEX}"), minimized("0.85", Distance::Variance, &["1"]), &[""]),
        (format!("scheme = \"minimization\"\nprobability = 0.9\ndistance = \"standard-deviation\"\n{SEX}weight = \"1.5\"\n"), minimized("0.9", Distance::StandardDeviation, &["1.5"]), &[""]),
    ];
    for (text, scheme, strata) in table {
        let (trial, findings) = read(format!("{HEAD}[allocation]\ntotal = 92\ndecision_valid_days = 3\n{text}"));
        assert_eq!(findings.iter().filter(|f| f.id != "TB-T019").collect::<Vec<_>>(), Vec::<&Finding>::new(), "{text}");
        let trial = trial.unwrap_or_else(|| panic!("{text}: no trial"));
        let plan = trial.plan().unwrap_or_else(|| panic!("{text}: no plan"));
        assert!(plan.scheme == scheme, "{text}: another scheme");
        assert_eq!((plan.total, plan.arms.names()), (92, &["A".to_owned(), "B".to_owned()][..]), "{text}");
        assert_eq!(plan.strata(), strata, "{text}");
        assert_eq!(trial.allocation.map(|a| a.decision_valid_days), Some(3));
    }
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn every_mistake_has_its_check_and_its_line() {
    use Severity::{Error, Warning};
    let blocks = "scheme = \"permuted-blocks\"\nblock_sizes = [4, 6]\n";
    let minimized = "scheme = \"minimization\"\nprobability = 0.8\ndistance = \"range\"\n";
    let factor = |keys: &str| format!("{blocks}[[allocation.factor]]\nname = \"f\"\n{keys}\n");
    let named = |name: &str| format!("{blocks}{}", SEX.replace("name = \"sex\"", &format!("name = \"{name}\"")));
    let table: Vec<(&str, String, &str, Severity, &str)> = vec![
        // The scheme and its keys.
        ("no such scheme",                     "scheme = \"alternation\"\n".into(),                                   "TB-T024", Error, "alternation"),
        ("blocks without sizes",               "scheme = \"permuted-blocks\"\n".into(),                               "TB-T027", Error, "scheme ="),
        ("a coin without its probability",     "scheme = \"biased-coin\"\n".into(),                                   "TB-T027", Error, "scheme ="),
        ("a stick without its length",         "scheme = \"big-stick\"\n".into(),                                     "TB-T027", Error, "scheme ="),
        ("minimization without a distance",    format!("scheme = \"minimization\"\nprobability = 0.8\n{SEX}"),        "TB-T027", Error, "scheme ="),
        ("a probability of blocks",            format!("{blocks}probability = 0.7\n"),                                "TB-T027", Error, "probability"),
        ("the stick of a coin",                "scheme = \"biased-coin\"\nprobability = 0.7\nlimit = 3\n".into(),     "TB-T027", Error, "limit"),
        ("blocks of no scheme",                "scheme = \"complete\"\nblock_sizes = [4]\n".into(),                   "TB-T027", Error, "block_sizes"),
        ("the distance of an imported list",   "scheme = \"imported\"\ndistance = \"range\"\n".into(),                "TB-T027", Error, "distance"),
        ("the equal arms of a stick",          "scheme = \"big-stick\"\nlimit = 3\nequal = true\n".into(),            "TB-T027", Error, "equal"),
        ("the weight of a stratum",            format!("{blocks}{SEX}weight = 1\n"),                                  "TB-T027", Error, "weight"),
        ("a distance that is none",            format!("{}{SEX}", minimized.replace("range", "median")),              "TB-T027", Error, "median"),
        // Numbers.
        ("blocks of two",                      "scheme = \"permuted-blocks\"\nblock_sizes = [2, 4]\n".into(),         "TB-T024", Error, "block_sizes"),
        ("blocks of five",                     "scheme = \"permuted-blocks\"\nblock_sizes = [5]\n".into(),            "TB-T024", Error, "block_sizes"),
        ("no block",                           "scheme = \"permuted-blocks\"\nblock_sizes = []\n".into(),             "TB-T024", Error, "block_sizes"),
        ("blocks that do not fill the list",   "scheme = \"permuted-blocks\"\nblock_sizes = [6]\n".into(),            "TB-T024", Error, "block_sizes"),
        ("a fair coin",                        "scheme = \"biased-coin\"\nprobability = 0.5\n".into(),                "TB-T024", Error, "probability"),
        ("a coin of one side",                 "scheme = \"biased-coin\"\nprobability = 1\n".into(),                  "TB-T024", Error, "probability"),
        ("a probability above one",            "scheme = \"biased-coin\"\nprobability = 1.1\n".into(),                "TB-T027", Error, "probability"),
        ("a negative probability",             "scheme = \"biased-coin\"\nprobability = -0.7\n".into(),               "TB-T027", Error, "probability"),
        ("one that would be rounded",          "scheme = \"biased-coin\"\nprobability = 0.66666666666666666\n".into(), "TB-T027", Error, "probability"),
        ("a probability in words",             "scheme = \"biased-coin\"\nprobability = \"two thirds\"\n".into(),     "TB-T027", Error, "probability"),
        ("a probability that is a list",       "scheme = \"biased-coin\"\nprobability = [0.7]\n".into(),              "TB-T027", Error, "probability"),
        ("a short stick",                      "scheme = \"big-stick\"\nlimit = 1\n".into(),                          "TB-T024", Error, "limit"),
        ("a long stick",                       "scheme = \"big-stick\"\nlimit = 92\n".into(),                         "TB-T024", Error, "limit"),
        ("minimization by a fair coin",        format!("{}{SEX}", minimized.replace("0.8", "0.5")),                   "TB-T024", Error, "probability"),
        ("minimization without chance",        format!("{}{SEX}", minimized.replace("0.8", "1.0")),                   "TB-T024", Warning, "probability"),
        ("minimization over nothing",          minimized.into(),                                                      "TB-T024", Error, "scheme ="),
        ("a weight that is none",              format!("{minimized}{SEX}weight = \"heavy\"\n"),                       "TB-T027", Error, "weight"),
        ("nothing has a weight",               format!("{minimized}{SEX}weight = 0\n"),                               "TB-T024", Error, "scheme ="),
        // What a factor refers to.
        ("a variable that is not there",       factor("variable = \"gfr\"\ncuts = [1]"),                              "TB-T028", Error, "gfr"),
        ("a score that is not computed",       factor("score = \"meld3\"\ncuts = [1]"),                               "TB-T028", Error, "meld3"),
        ("neither",                            factor("cuts = [1]"),                                                  "TB-T028", Error, "name = \"f\""),
        ("both",                               factor("variable = \"inr\"\nscore = \"meld_unos\"\ncuts = [1]"),       "TB-T028", Error, "name = \"f\""),
        ("answers of a number",                factor("variable = \"inr\"\nlevels = [\"high\", \"low\"]"),            "TB-T028", Error, "levels"),
        ("cuts of answers",                    factor("variable = \"ascites\"\ncuts = [1]"),                          "TB-T028", Error, "cuts"),
        ("classes of a score without",         factor("score = \"meld_unos\"\nclass = [\"A\", \"B\"]"),               "TB-T028", Error, "class"),
        ("classes of a variable",              factor("variable = \"ascites\"\nclass = [\"none\", \"mild\"]"),        "TB-T027", Error, "class"),
        ("levels of a score",                  factor("score = \"child_pugh\"\nlevels = [\"A\", \"B\", \"C\"]"),      "TB-T027", Error, "levels"),
        ("classes and cuts",                   factor("score = \"child_pugh\"\nclass = [\"A+B\", \"C\"]\ncuts = [7]"), "TB-T027", Error, "cuts"),
        ("a name with a sign",                 named("s=x"),                                                          "TB-T028", Error, "s=x"),
        ("no name",                            named(""),                                                             "TB-T028", Error, "name = \"\""),
        // Its levels.
        ("no levels",                          factor("variable = \"inr\""),                                          "TB-T029", Error, "name = \"f\""),
        ("an answer that is none",             factor("variable = \"ascites\"\nlevels = [\"none\", \"mild\", \"moderate-severe\", \"huge\"]"), "TB-T029", Error, "huge"),
        ("an answer without a level",          factor("variable = \"ascites\"\nlevels = [\"none\", \"mild\"]"),       "TB-T029", Error, "name = \"f\""),
        ("an answer in two levels",            factor("variable = \"ascites\"\nlevels = [\"none+mild\", \"mild+moderate-severe\"]"), "TB-T029", Error, "levels"),
        ("a level twice",                      factor("variable = \"ascites\"\nlevels = [\"none\", \"none\", \"mild+moderate-severe\"]"), "TB-T029", Error, "levels"),
        ("one level for all",                  factor("variable = \"ascites\"\nlevels = [\"none+mild+moderate-severe\"]"), "TB-T029", Error, "name = \"f\""),
        ("a class that is left out",           factor("score = \"child_pugh\"\nclass = [\"B\", \"C\"]"),              "TB-T029", Error, "name = \"f\""),
        ("cuts that fall",                     factor("variable = \"inr\"\ncuts = [2, \"1.7\"]"),                     "TB-T029", Error, "cuts"),
        ("a cut twice",                        factor("variable = \"inr\"\ncuts = [2, \"2.0\"]"),                     "TB-T029", Error, "cuts"),
        ("a cut that is none",                 factor("variable = \"inr\"\ncuts = [\"high\"]"),                       "TB-T029", Error, "cuts"),
        ("a cut without end",                  factor("variable = \"inr\"\ncuts = [inf]"),                            "TB-T029", Error, "cuts"),
        // All of them together.
        ("nine factors",                       many(9, minimized),                                                    "TB-T030", Error, "name = \"s8\""),
        ("a factor twice",                     format!("{minimized}{SEX}{SEX}"),                                      "TB-T030", Error, ""),
        ("more strata than there may be",      many(7, blocks),                                                       "TB-T031", Error, "name = \"s0\""),
        ("strata of less than two blocks",     many(3, blocks),                                                       "TB-T031", Warning, "name = \"s0\""),
        ("strata of a few",                    many(4, "scheme = \"complete\"\n"),                                    "TB-T031", Warning, "name = \"s0\""),
    ];
    for (name, text, id, severity, mark) in table {
        let allocation = format!("[allocation]\ntotal = 92\n{text}");
        let (trial, findings) = read(format!("{HEAD}{allocation}"));
        assert_eq!(trial.is_none(), severity == Error, "{name}: {findings:?}");
        let found: Vec<&Finding> = findings.iter().filter(|f| f.id == id && f.severity == severity).collect();
        assert!(!found.is_empty(), "{name}: {findings:?}");
        let line = allocation.lines().position(|l| l.contains(mark)).unwrap_or_else(|| panic!("{name}: no `{mark}`"));
        if !mark.is_empty() {
            let place = format!("t.toml:{}", HEAD.lines().count() + line + 1);
            assert!(found.iter().any(|f| f.place == place), "{name}: not at {place}: {found:?}");
        }
    }
    for n in [1, 2] {
        let (_, findings) = read(format!("{HEAD}[allocation]\ntotal = 96\n{}", many(n, blocks)));
        assert!(findings.iter().all(|f| f.id == "TB-T019"), "{n} factors give strata of 24 or more: {findings:?}");
    }
}

#[test]
fn who_is_drawn_for_has_a_criterion_of_consent() {
    let allocation = "[allocation]\ntotal = 92\nscheme = \"complete\"\n";
    let found = |rule: &str| {
        let head = HEAD.replace("rule = { consent = {} }", rule);
        let (trial, findings) = read(format!("{head}{allocation}"));
        let place = findings.into_iter().find(|f| f.id == "TB-T035").map(|f| f.place);
        (trial.is_some(), place)
    };
    let at = format!("t.toml:{}", HEAD.lines().count() + 2);
    assert_eq!(found("rule = { consent = {} }"), (true, None));
    assert_eq!(found("rule = { attested = {} }"), (false, Some(at.clone())));
    // One way of several is not consent.
    let either = "rule = { any = [{ consent = {} }, { age = { at_least = 18 } }] }";
    assert_eq!(found(either), (false, Some(at)));
    // Who only screens need not ask.
    let head = HEAD.replace("rule = { consent = {} }", "rule = { attested = {} }");
    assert!(read(head).0.is_some());
}

#[test]
fn a_variable_that_only_a_factor_uses_is_used() {
    let scheme = "[allocation]\ntotal = 92\nscheme = \"complete\"\n";
    let factor = "[[allocation.factor]]\nname = \"inr\"\nvariable = \"inr\"\ncuts = [2]\n";
    let head = HEAD.replace("compute = [\"meld_unos\", \"child_pugh\"]", "compute = []");
    let unused = |text: String| read(text).1.iter().any(|f| f.id == "TB-T019");
    assert!(unused(format!("{head}{scheme}")));
    assert!(!unused(format!("{head}{scheme}{factor}")));
}

#[test]
fn a_section_stands_once() {
    let allocation = "[allocation]\ntotal = 92\nscheme = \"complete\"\n";
    let masking = "[masking]\narm_visible_to = []\nwrite_back = \"code\"\ntext = \"\"\nsource = \"\"\n";
    for (second, line) in [(format!("\n{allocation}"), 2), (format!("\n\n{masking}"), 3)] {
        let files = [("t.toml", format!("{HEAD}{allocation}")), ("u.toml", second)];
        let definition =
            Definition::read(files.map(|(n, t)| (n.to_owned(), t)).into()).expect("TOML of this shape");
        let (trial, findings) = check::check(&definition, &SiteFile::default());
        assert!(trial.is_none());
        let place = format!("u.toml:{line}");
        assert!(findings.iter().any(|f| f.id == "TB-T004" && f.place == place), "{findings:?}");
    }
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn who_may_see_arms_is_what_the_trial_says_and_else_the_strictest() {
    use Role::*;
    let section = |roles: &str, write_back: &str| format!("[masking]\narm_visible_to = [{roles}]\nwrite_back = \"{write_back}\"\ntext = \"x\"\nsource = \"x\"\n");
    // The head with another word for the study's masking, and this section or none.
    let masked = |study: &str, masking: &str| {
        let (head, _) = HEAD.split_once("[masking]").expect("the head has one");
        let head = head.replace("masking = \"open\"", &format!("masking = \"{study}\""));
        let (trial, findings) = read(format!("{head}[allocation]\ntotal = 92\nscheme = \"complete\"\n{masking}"));
        (trial, findings.iter().map(|f| f.id).filter(|id| *id != "TB-T019").collect::<Vec<_>>())
    };
    let table: Vec<(&str, String, &[Role], Disclosure, &[&str])> = vec![
        ("open",   String::new(),                                            &[Pharmacist, Statistician],  Disclosure::Withhold, &["TB-T033"]),
        ("open",   section("", "disclose"),                                  &[],                          Disclosure::Disclose, &[]),
        ("single", section("\"pharmacist\"", "code"),                        &[Pharmacist],                Disclosure::Code,     &[]),
        ("open",   section("\"investigator\", \"coordinator\"", "withhold"), &[Coordinator, Investigator], Disclosure::Withhold, &["TB-T034"]),
        ("double", section("\"statistician\"", "disclose"),                  &[Statistician],              Disclosure::Disclose, &["TB-T034"]),
        ("double", section("\"statistician\"", "code"),                      &[Statistician],              Disclosure::Code,     &[]),
    ];
    for (study, text, roles, write_back, ids) in table {
        let (trial, found) = masked(study, &text);
        assert_eq!(found, ids, "{text}");
        let trial = trial.unwrap_or_else(|| panic!("{text}"));
        assert_eq!(trial.masking, Masking { arm_visible_to: roles.iter().copied().collect(), write_back }, "{text}");
        assert_eq!(trial.masking_place.is_some(), !text.is_empty(), "{text}");
    }
    for role in ["monitor", "administrator", "operator", "Pharmacist", "nurse"] {
        let (trial, found) = masked("open", &section(&format!("\"pharmacist\", \"{role}\""), "code"));
        assert!(trial.is_none(), "{role}");
        assert_eq!(found, ["TB-T032"], "{role}");
    }
}

#[test]
fn the_shipped_trial_is_as_it_was_and_says_whom_it_masks() {
    let trial = Trial::shipped();
    let plan = trial.plan().expect("a plan");
    assert!(plan.scheme == Scheme::PermutedBlocks { sizes: vec![4, 6] });
    assert_eq!((plan.total, plan.arms.names().len(), plan.strata().len()), (92, 2, 1));
    assert_eq!(trial.masking.write_back, Disclosure::Disclose);
    for role in [Role::Coordinator, Role::Investigator, Role::Monitor, Role::Administrator] {
        assert!(!trial.masking.arm_visible_to.contains(&role), "{role}");
    }
    let open: Vec<&str> =
        trial.choices.iter().filter(|c| !c.confirmed).map(|c| c.id.get_ref().as_str()).collect();
    assert!(open.contains(&"masking") && open.contains(&"allocation-scheme"), "{open:?}");
}

#[test]
fn all_of_it_stands_in_the_definitions_hash() {
    let hash = |from: &str, to: &str| {
        let text = format!("{HEAD}[allocation]\ntotal = 92\nscheme = \"complete\"\n{SEX}");
        assert!(text.contains(from), "{from}");
        let sources = vec![("t.toml".to_owned(), text.replace(from, to))];
        Definition::read(sources).expect("TOML of this shape").hash
    };
    let changes = [
        ("total = 92", "total = 92"),
        ("total = 92", "total = 94"),
        ("\"complete\"", "\"imported\""),
        ("[\"female\", \"male\"]", "[\"male\", \"female\"]"),
        ("\"withhold\"", "\"code\""),
        ("[\"pharmacist\"]", "[\"pharmacist\", \"statistician\"]"),
    ];
    let hashes: BTreeSet<String> = changes.iter().map(|(from, to)| hash(from, to)).collect();
    assert_eq!(hashes.len(), changes.len());
}
