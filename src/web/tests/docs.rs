//! `docs/api.md` says what the program does: every route with who may ask for it, every code, and examples
//! that lead somewhere.

use super::super::refusals::NOT_RANDOMIZED;
use super::*;
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../docs/api.md");

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn the_page_has_the_routes_of_the_table_and_no_others() {
    let said: BTreeSet<(String, String, String)> = PAGE
        .lines()
        .filter(|line| ["| `GET`", "| `POST`", "| `DELETE`"].iter().any(|m| line.starts_with(m)))
        .map(|line| {
            let cells = cells(line);
            let bare = |at: usize| cells[at].trim_matches('`').to_owned();
            (bare(0), bare(1), cells[2].clone())
        })
        .collect();
    let who = |need: Need| match need {
        Need::Nothing => "anybody".to_owned(),
        Need::Session => "a session".to_owned(),
        Need::May(permission) => words::permission(permission),
    };
    let there: BTreeSet<(String, String, String)> =
        ROUTES.iter().map(|r| (r.method.to_string(), r.path.to_owned(), who(r.need))).collect();
    assert_eq!(said, there);
}

#[test]
fn every_reason_not_to_randomize_is_there_with_its_status() {
    for (code, status, _, _) in NOT_RANDOMIZED {
        let row = PAGE.lines().find(|line| line.starts_with("| ") && line.contains(&format!("`{code}`")));
        let row = row.unwrap_or_else(|| panic!("docs/api.md does not name {code}"));
        assert_eq!(cells(row)[0], status.to_string(), "{code}");
    }
}

#[test]
fn the_examples_ask_for_routes_that_there_are() {
    let mut found = 0;
    for part in PAGE.split("\"$BASE").skip(1) {
        let path = part.split(['"', '?']).next().expect("an address");
        let id = path.replace("/p-001/", "/{id}/");
        assert!(ROUTES.iter().any(|r| r.path == id), "{path}");
        found += 1;
    }
    assert!(found >= 7, "{found}");
}
