//! Imported lists: what is read, every refusal with its row, and any one byte changed.

use super::{
    super::{
        import::{Expected, Fault, Finding, HEADER, MOST_FINDINGS, MOST_ROWS, commitment, read},
        *,
    },
    blocks_of, two_arms,
};

const TRIAL: &str = "NCT06242405";
const SHORT_HEADER: &str = "trial,environment,position,arm";

/// One list of a stratum, in order.
fn drawn(total: u32, seed: u8) -> Vec<usize> {
    let slots = generate(&blocks_of(&[4, 6]), &two_arms(), total, &Seed::new([seed; 32])).expect("a list");
    slots.iter().map(|slot| slot.arm).collect()
}

fn rows(stratum: &str, arms: &[usize]) -> Vec<String> {
    let names = two_arms();
    let row = |(position, &arm): (usize, &usize)| {
        format!("{TRIAL},production,{stratum},{position},{}", names.names()[arm])
    };
    (1..).zip(arms).map(row).collect()
}

fn file(rows: &[String]) -> String {
    format!("{HEADER}\n{}\n", rows.join("\n"))
}

fn strata(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

fn read_as(text: &[u8], labels: &[&str], total: u32, equal: bool) -> Result<Vec<Place>, Vec<Finding>> {
    let (arms, strata) = (two_arms(), strata(labels));
    let expected =
        Expected { trial: TRIAL, environment: "production", arms: &arms, strata: &strata, total, equal };
    read(text, &expected)
}

fn read_one(text: &str, total: u32) -> Result<Vec<Place>, Vec<Finding>> {
    read_as(text.as_bytes(), &[""], total, true)
}

fn findings(text: &str, total: u32) -> Vec<(usize, Fault)> {
    let found = read_one(text, total).expect_err("refused");
    found.into_iter().map(|finding| (finding.row, finding.what)).collect()
}

#[test]
fn a_good_list_is_read_in_each_of_its_spellings() {
    let arms = drawn(92, 1);
    let good = file(&rows("", &arms));
    let expected: Vec<Place> = (1..)
        .zip(&arms)
        .map(|(position, &arm)| Place { stratum: 0, position, block: 0, content: Content::Arm(arm) })
        .collect();
    let without: String = good.replace(HEADER, SHORT_HEADER).replace(",production,,", ",production,");
    let quoted = good.replace("single infusion", "\"single infusion\"");
    for spelling in [
        good.clone(),
        good.trim_end().to_owned(),
        good.replace('\n', "\r\n"),
        format!("\u{feff}{good}"),
        without,
        quoted,
    ] {
        assert!(read_one(&spelling, 92) == Ok(expected.clone()), "{}", &spelling[..60]);
    }
    // As the generator's own list, written out.
    assert_eq!(expected.len(), 92);
    // A name with a comma and a quotation mark is quoted.
    let names = Arms::new(["a, \"one\"", "b"]).expect("arms");
    let one = strata(&[""]);
    let wanted =
        Expected { trial: "T", environment: "test", arms: &names, strata: &one, total: 2, equal: true };
    let text = format!("{SHORT_HEADER}\nT,test,1,\"a, \"\"one\"\"\"\nT,test,2,b\n");
    let arms: Vec<Content> =
        read(text.as_bytes(), &wanted).expect("a list").into_iter().map(|p| p.content).collect();
    assert!(arms == [Content::Arm(0), Content::Arm(1)]);
}

#[test]
fn strata_are_read_in_any_order_and_each_must_serve_the_whole_trial() {
    let labels = ["sex=female", "sex=male"];
    let (one, other) = (rows(labels[0], &drawn(12, 1)), rows(labels[1], &drawn(14, 2)));
    let in_order = file(&[one.clone(), other.clone()].concat());
    let expected = read_as(in_order.as_bytes(), &labels, 12, true).expect("a list");
    assert_eq!(expected.len(), 26);
    assert!(
        expected
            .iter()
            .map(|p| (p.stratum, p.position))
            .eq((1..=12).map(|p| (0, p)).chain((1..=14).map(|p| (1, p))))
    );
    let turned = file(&[other.clone(), one.clone()].concat());
    assert!(read_as(turned.as_bytes(), &labels, 12, true) == Ok(expected));
    let found = |text: &str, total| {
        let found = read_as(text.as_bytes(), &labels, total, true).expect_err("refused");
        found.into_iter().map(|finding| (finding.row, finding.what)).collect::<Vec<_>>()
    };
    let short = |stratum: &str, found, expected| Fault::Short { stratum: stratum.into(), found, expected };
    assert_eq!(found(&in_order, 13), [(13, short("sex=female", 12, 13))]);
    // A stratum that is not there at all is missed at the end of the file.
    assert_eq!(found(&file(&one), 12), [(13, short("sex=male", 0, 12))]);
    let unknown = in_order.replacen("sex=male", "sex=canary", 1);
    let told = found(&unknown, 12);
    assert_eq!(told[0], (14, Fault::Stratum { example: "sex=female".into() }));
    assert_eq!(told[1], (15, Fault::Position { expected: 1 }));
    // One stratum only, and a cell in its column.
    let one_stratum = file(&rows("sex=female", &drawn(4, 1)));
    assert_eq!(findings(&one_stratum, 4)[0], (2, Fault::OneStratum));
}

/// The table of faults: what is done to a good list of twelve, and what is then found where.
#[test]
fn every_fault_is_found_with_its_row() {
    // 1 0 0 1 | 0 0 1 0 1 1 | ...: any list that is neither sorted nor alternating.
    let arms = [0, 1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 0];
    let good = rows("", &arms);
    assert!(read_one(&file(&good), 12).is_ok());
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut rows = good.clone();
        change(&mut rows);
        file(&rows)
    };
    let replace = |row: usize, from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        with(&move |rows| rows[row - 2] = rows[row - 2].replacen(&from, &to, 1))
    };
    let unequal = || Fault::Unequal { stratum: String::new() };
    let position = |expected| Fault::Position { expected };
    let trial = || Fault::Trial { expected: TRIAL.into() };
    let other = |found| Fault::OtherEnvironment { found, expected: "production".into() };
    // what it is, file, findings
    let table: Vec<(&str, String, Vec<(usize, Fault)>)> = vec![
        ("nothing", String::new(), vec![(1, Fault::Empty)]),
        ("a mark only", "\u{feff}".into(), vec![(1, Fault::Empty)]),
        ("a header only", format!("{HEADER}\n"), vec![(1, Fault::NoPlace)]),
        ("a header only, unended", HEADER.into(), vec![(1, Fault::NoPlace)]),
        ("no header", good.join("\n"), vec![(1, Fault::Header)]),
        ("an unknown column", file(&good).replacen("arm", "arm,note", 1), vec![(1, Fault::Header)]),
        (
            "another order",
            file(&good).replacen("stratum,position", "position,stratum", 1),
            vec![(1, Fault::Header)],
        ),
        ("another case", file(&good).replacen("arm", "Arm", 1), vec![(1, Fault::Header)]),
        ("semicolons", file(&good).replace(',', ";"), vec![(1, Fault::Header)]),
        ("a blank row", with(&|rows| rows.insert(3, String::new())), vec![(5, Fault::Blank)]),
        ("a blank row at the end", file(&good) + "\n", vec![(14, Fault::Blank)]),
        (
            "a column more",
            replace(5, ",4,", ",4,,"),
            vec![
                (5, Fault::Columns { found: 6, expected: 5 }),
                (6, position(4)),
                (13, unequal()),
                (13, Fault::Total { found: 11, expected: 12 }),
            ],
        ),
        (
            "a quotation mark inside",
            replace(5, "infusion", "inf\"usion"),
            vec![
                (5, Fault::Quotes { column: 5 }),
                (6, position(4)),
                (13, unequal()),
                (13, Fault::Total { found: 11, expected: 12 }),
            ],
        ),
        ("another trial", replace(4, TRIAL, "NCT00000000"), vec![(4, trial())]),
        ("a test list", file(&good).replacen("production", "test", 1), vec![(2, other("test"))]),
        (
            "no environment",
            replace(4, "production", "Production"),
            vec![(4, Fault::Environment { expected: "production".into() })],
        ),
        ("an arm misspelt", replace(4, "double", "Double"), vec![(4, Fault::Arm)]),
        ("an arm with a space", replace(4, "infusion", "infusion "), vec![(4, Fault::Arm)]),
        (
            "a gap",
            with(&|rows| drop(rows.remove(4))),
            vec![(6, position(5)), (12, unequal()), (12, Fault::Total { found: 11, expected: 12 })],
        ),
        (
            "a row twice",
            with(&|rows| rows.insert(5, rows[4].clone())),
            vec![
                (7, Fault::Twice { first: 6 }),
                (14, unequal()),
                (14, Fault::Total { found: 13, expected: 12 }),
            ],
        ),
        (
            "two rows exchanged",
            with(&|rows| rows.swap(4, 5)),
            vec![(6, position(5)), (7, position(7)), (8, position(6))],
        ),
        ("from the last to the first", with(&|rows| rows.reverse()), {
            let expected = [1, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3];
            (2..14).zip(expected).map(|(row, expected)| (row, position(expected))).collect()
        }),
        ("position 0", replace(2, ",1,", ",0,"), vec![(2, Fault::NotAPosition)]),
        ("position 01", replace(2, ",1,", ",01,"), vec![(2, Fault::NotAPosition)]),
        ("position +1", replace(2, ",1,", ",+1,"), vec![(2, Fault::NotAPosition)]),
        ("position -1", replace(2, ",1,", ",-1,"), vec![(2, Fault::NotAPosition)]),
        ("position 1.0", replace(2, ",1,", ",1.0,"), vec![(2, Fault::NotAPosition)]),
        ("no position", replace(2, ",1,", ",,"), vec![(2, Fault::NotAPosition)]),
        ("position 10001", replace(13, ",12,", ",10001,"), vec![(13, Fault::NotAPosition)]),
        ("position 10000", replace(13, ",12,", ",10000,"), vec![(13, position(12))]),
        ("position 99999999999", replace(13, ",12,", ",99999999999,"), vec![(13, Fault::NotAPosition)]),
        ("one of the other arm", replace(4, "double", "single"), vec![(13, unequal())]),
        (
            "everything at once",
            replace(4, &good[2], "NCT,test,x,3,y"),
            vec![
                (4, trial()),
                (4, other("test")),
                (4, Fault::Arm),
                (4, Fault::OneStratum),
                (5, position(3)),
                (13, unequal()),
                (13, Fault::Total { found: 11, expected: 12 }),
            ],
        ),
    ];
    for (name, text, expected) in table {
        let mut found = findings(&text, 12);
        let mut expected = expected;
        let key = |(row, fault): &(usize, Fault)| (*row, fault.to_string());
        found.sort_by_key(key);
        expected.sort_by_key(key);
        assert_eq!(found, expected, "{name}");
    }
    // Production into a test installation.
    let (arms, one) = (two_arms(), strata(&[""]));
    let wanted =
        Expected { trial: TRIAL, environment: "test", arms: &arms, strata: &one, total: 12, equal: true };
    let found = read(file(&good).as_bytes(), &wanted).expect_err("refused");
    assert_eq!(found.len(), 12);
    let what = Fault::OtherEnvironment { found: "production", expected: "test".into() };
    assert_eq!(found[0], Finding { row: 2, what });
    // Not UTF-8: the row of the first such byte.
    let mut bytes = file(&good).into_bytes();
    let place = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).expect("a row").0;
    bytes[place + 3] = 0xff;
    let found = read_as(&bytes, &[""], 12, true);
    assert_eq!(found, Err(vec![Finding { row: 4, what: Fault::NotUtf8 }]));
    for control in ["\r", "\t", "\0", "\u{85}"] {
        let text = replace(4, "infusion", &format!("infus{control}ion"));
        assert_eq!(findings(&text, 12)[0], (4, Fault::Control { column: 5 }), "{control:?}");
    }
}

/// 47 of one and 45 of the other, as many rows as there should be.
#[test]
fn unequal_arms_are_refused_only_where_the_plan_demands_equal_ones() {
    let mut arms = drawn(92, 1);
    let place = arms.iter().position(|&arm| arm == 1).expect("an arm");
    arms[place] = 0;
    let text = file(&rows("", &arms));
    assert_eq!(findings(&text, 92), [(93, Fault::Unequal { stratum: String::new() })]);
    assert!(read_as(text.as_bytes(), &[""], 92, false).is_ok());
    // One row short: the number is wrong, and so the arms cannot be equal.
    let told = findings(&file(&rows("", &drawn(92, 1)[..91])), 92);
    let total = Fault::Total { found: 91, expected: 92 };
    assert_eq!(told, [(92, total), (92, Fault::Unequal { stratum: String::new() })]);
}

#[test]
fn lists_that_can_be_foreseen_are_refused_where_chance_does_not_make_them() {
    let none = String::new;
    let repeat = |pattern: &[usize], times: usize| pattern.repeat(times);
    let sorted = |n: usize| [vec![0; n], vec![1; n]].concat();
    // Two blocks of two, one of each kind, and so on.
    let pairs = |n: usize| repeat(&[0, 1, 1, 0], n / 4);
    // arms, what is said
    let table = [
        (sorted(46), Some(Fault::Sorted { stratum: none() })),
        (sorted(4), Some(Fault::Sorted { stratum: none() })),
        (sorted(3), None),
        (repeat(&[0, 1], 46), Some(Fault::Alternating { stratum: none() })),
        (repeat(&[1, 0], 4), Some(Fault::Alternating { stratum: none() })),
        (repeat(&[1, 0], 3), None),
        (pairs(92), Some(Fault::ShortBlocks { stratum: none() })),
        (pairs(40), Some(Fault::ShortBlocks { stratum: none() })),
        ([pairs(36), vec![0, 1]].concat(), None),
        ([pairs(40), vec![0, 0, 1, 1]].concat(), None),
        (repeat(&[0, 0, 1, 1], 23), None),
    ];
    for (arms, expected) in table {
        let total = arms.len() as u32;
        let found = read_one(&file(&rows("", &arms)), total).err();
        let row = arms.len() + 1;
        assert_eq!(found, expected.map(|what| vec![Finding { row, what }]), "{arms:?}");
    }
    // Several strata, each too short to tell, all alike.
    let labels = ["a=1", "a=2", "a=3"];
    let all = |arms: [&[usize]; 3]| {
        let rows: Vec<String> = labels.iter().zip(arms).flat_map(|(label, arms)| rows(label, arms)).collect();
        let found = read_as(file(&rows).as_bytes(), &labels, 4, true).err().unwrap_or_default();
        found.into_iter().map(|finding| (finding.row, finding.what)).collect::<Vec<_>>()
    };
    let every = || "*".to_owned();
    assert_eq!(all([&[0, 1, 0, 1]; 3]), [(13, Fault::Alternating { stratum: every() })]);
    assert_eq!(all([&[0, 0, 1, 1]; 3]), [(13, Fault::Sorted { stratum: every() })]);
    assert_eq!(all([&[0, 1, 0, 1], &[0, 1, 0, 1], &[0, 1, 1, 0]]), []);
    // One of them is long enough by itself, and named.
    let long = [0, 1].repeat(4);
    assert_eq!(
        all([&[0, 1, 1, 0], &long, &[0, 1, 0, 1]]),
        [(13, Fault::Alternating { stratum: "a=2".into() })]
    );
    // With three arms a list is in short blocks where each holds all three.
    let arms = Arms::new(["a", "b", "c"]).expect("arms");
    let one = strata(&[""]);
    let wanted =
        Expected { trial: "T", environment: "test", arms: &arms, strata: &one, total: 60, equal: true };
    let text = |pattern: &str| {
        let rows: Vec<String> =
            (1..=60).zip(pattern.chars().cycle()).map(|(i, arm)| format!("T,test,{i},{arm}")).collect();
        read(format!("{SHORT_HEADER}\n{}", rows.join("\n")).as_bytes(), &wanted).err()
    };
    let only = |what: Fault| Some(vec![Finding { row: 61, what }]);
    assert_eq!(text("abcbca"), only(Fault::ShortBlocks { stratum: none() }));
    assert_eq!(text("abc"), only(Fault::Alternating { stratum: none() }));
    assert_eq!(text("abccab"), only(Fault::ShortBlocks { stratum: none() }));
    assert_eq!(text("aabcbc"), None);
}

/// Neither reading nor refusing depends on how much there is.
#[test]
fn a_file_without_end_is_not_read_to_its_end() {
    let row = "x\n";
    let text = format!("{HEADER}\n{}", row.repeat(MOST_ROWS));
    let found = findings(&text, 92);
    assert_eq!(found.len(), MOST_FINDINGS + 1);
    let left_out = MOST_ROWS - MOST_FINDINGS + 1; // and the total
    assert_eq!(found[MOST_FINDINGS], (MOST_FINDINGS + 1, Fault::More { left_out }));
    assert!(!found.iter().any(|(_, fault)| *fault == Fault::ManyRows));
    let found = findings(&(text + row), 92);
    assert_eq!(found[MOST_FINDINGS], (MOST_FINDINGS + 1, Fault::More { left_out: left_out + 1 }));
}

/// Whatever one byte of a list with equal arms is replaced by, and wherever one is put in or left out: the
/// file is refused, or it reads to the same list.
#[test]
fn no_single_byte_makes_another_list() {
    let labels = ["sex=f", "sex=m"];
    let one = rows(labels[0], &[0, 1, 1, 1, 0, 0]);
    let other = rows(labels[1], &[1, 1, 0, 1, 0, 0, 0, 1]);
    let good = file(&[one, other].concat()).replace("single infusion", "A").replace("double infusion", "B");
    let arms = Arms::new(["A", "B"]).expect("arms");
    let strata = strata(&labels);
    let wanted = Expected {
        trial: TRIAL,
        environment: "production",
        arms: &arms,
        strata: &strata,
        total: 6,
        equal: true,
    };
    let list = read(good.as_bytes(), &wanted).expect("a list");
    let good = good.as_bytes();
    let (mut same, mut refused) = (0, 0);
    let mut check = |bytes: &[u8], place: usize| match read(bytes, &wanted) {
        Ok(found) => {
            assert!(found == list, "another list by a byte at {place}");
            same += 1;
        }
        Err(found) => {
            assert!(!found.is_empty() && found.iter().all(|finding| finding.row >= 1));
            refused += 1;
        }
    };
    for place in 0..good.len() {
        let (before, after) = good.split_at(place);
        check(&[before, &after[1..]].concat(), place);
        for byte in (0..=255u8).step_by(if place % 7 == 0 { 1 } else { 5 }).chain(*b",\"\r\nAB12fm ") {
            if byte != after[0] {
                check(&[before, &[byte], &after[1..]].concat(), place);
            }
            check(&[before, &[byte], after].concat(), place);
        }
    }
    // A carriage return before a line feed, or the last line feed left out, changes nothing.
    assert!(same >= 16, "{same} read");
    assert!(refused > 20_000, "{refused} refused");
}

#[test]
fn nothing_that_is_said_holds_a_cell_of_the_file() {
    let text = format!(
        "{HEADER}\ncanary,canary,canary,canary,canary\n{TRIAL},production,,1,canary\ncanary,\"can\"ary,,\n"
    );
    for (labels, equal) in [(&[""][..], true), (&["a=1", "a=2"], false)] {
        let found = read_as(text.as_bytes(), labels, 4, equal).expect_err("refused");
        assert!(found.len() >= 6);
        for finding in found {
            let said = format!("{finding} {finding:?}");
            assert!(!said.contains("canary") && !said.contains("infusion"), "{said}");
            assert!(said.starts_with(&format!("row {}: ", finding.row)), "{said}");
        }
    }
}

#[test]
fn a_finding_names_the_stratum_where_there_are_several() {
    let said = |stratum: &str| Fault::Sorted { stratum: stratum.into() }.to_string();
    let fault = "the list is sorted by arm, so that it can be foreseen";
    assert_eq!(said(""), fault);
    assert_eq!(said("sex=f"), format!("stratum sex=f: {fault}"));
    assert_eq!(said("*"), format!("all strata together: {fault}"));
}

/// The commitment is that of the bytes, so that another spelling of the same list has another.
#[test]
fn the_commitment_is_to_the_bytes_under_the_salt() {
    let salt = Salt::new([9; 32]);
    let purpose = b"trialbridge/imported-list/v1";
    let by_hand =
        [&[0, 0, 0, 0, 0, 0, 0, 28][..], purpose, &[9; 32], &[0, 0, 0, 0, 0, 0, 0, 3], b"a\r\n"].concat();
    assert_eq!(commitment(&salt, b"a\r\n"), Digest::of(&by_hand));
    assert_ne!(commitment(&salt, b"a\n"), commitment(&salt, b"a\r\n"));
    assert_ne!(commitment(&Salt::new([8; 32]), b"a\n"), commitment(&salt, b"a\n"));
}
