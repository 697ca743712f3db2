//! Every way in which a log can be altered, and the place at which it is found.

use super::*;

fn event(i: u64) -> Event {
    Event {
        at: format!("2026-03-01T08:{:02}:00Z", i % 60),
        actor: "coordinator-7".to_owned(),
        role: "coordinator".to_owned(),
        action: "consent.record".to_owned(),
        subject: (i % 2 == 0).then(|| format!("S-{i:04}")),
        detail: Detail::from([
            ("definition".to_owned(), format!("v{i}")),
            ("reason".to_owned(), String::new()),
        ]),
    }
}

fn log(length: u64) -> Vec<Entry> {
    let mut head = Head::EMPTY;
    let written = (1..=length).map(|i| {
        let entry = next(head, event(i)).expect("an event in a test");
        head = entry.head();
        entry
    });
    written.collect()
}

fn fault(entries: &[Entry]) -> Option<(u64, Fault)> {
    verify(entries).err().map(|found| (found.sequence, found.what))
}

#[test]
fn a_log_as_it_was_written_verifies() {
    assert_eq!(verify(Vec::<Entry>::new()), Ok(Head::EMPTY));
    let entries = log(20);
    assert_eq!(verify(&entries), Ok(entries[19].head()));
    assert_eq!(entries[0].previous, Digest([0; 32]));
}

#[test]
fn the_hash_of_a_known_entry() {
    let event = Event {
        at: "2026-03-01T08:00:00Z".to_owned(),
        actor: "a".to_owned(),
        role: "admin".to_owned(),
        action: "x".to_owned(),
        subject: Some("S".to_owned()),
        detail: Detail::from([("k".to_owned(), "v".to_owned())]),
    };
    let entry = next(Head::EMPTY, event).expect("an event in a test");
    // The bytes as documented, written out by hand.
    let mut bytes = b"\0\0\0\0\0\0\0\x14trialbridge/audit/v1\0\0\0\0\0\0\0\x01".to_vec();
    bytes.extend(b"\0\0\0\0\0\0\0\x142026-03-01T08:00:00Z\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\x05admin");
    bytes.extend(
        b"\0\0\0\0\0\0\0\x01x\x01\0\0\0\0\0\0\0\x01S\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01k\0\0\0\0\0\0\0\x01v",
    );
    bytes.extend([0; 32]);
    assert_eq!(entry.hash, Digest::of(&bytes));
}

#[test]
fn every_edited_field_is_found_in_its_entry() {
    let edits: [(&str, fn(&mut Entry)); 13] = [
        ("time", |e| e.at = "2026-03-01T09:00:00Z".to_owned()),
        ("actor", |e| e.actor.push('x')),
        ("role", |e| e.role = "admin".to_owned()),
        ("action", |e| e.action = "consent.withdraw".to_owned()),
        ("subject", |e| e.subject = Some("S-9999".to_owned())),
        ("subject removed", |e| e.subject = None),
        ("subject emptied", |e| e.subject = Some(String::new())),
        ("detail changed", |e| drop(e.detail.insert("reason".to_owned(), "other".to_owned()))),
        ("detail added", |e| drop(e.detail.insert("more".to_owned(), String::new()))),
        ("detail removed", |e| drop(e.detail.remove("reason"))),
        ("text moved between fields", |e| {
            e.role.insert(0, '7');
            e.actor.pop();
        }),
        ("previous", |e| e.previous.0[31] ^= 1),
        ("hash", |e| e.hash.0[0] ^= 0x80),
    ];
    for (name, edit) in edits {
        let mut entries = log(6);
        edit(&mut entries[3]);
        assert_eq!(fault(&entries), Some((4, Fault::Edited)), "{name}");
    }
}

#[test]
fn an_edit_with_a_new_hash_is_found_in_the_entry_after_it() {
    let mut entries = log(6);
    entries[3].actor = "somebody".to_owned();
    entries[3].hash = entries[3].computed_hash();
    assert_eq!(fault(&entries), Some((5, Fault::Unlinked)));
}

#[test]
fn every_removal_repetition_and_exchange_is_found() {
    let good = log(6);
    for i in 0..6u64 {
        let at = i as usize;
        let mut removed = good.clone();
        removed.remove(at);
        // The last entry leaves a good chain; only an anchor knows of it.
        let expected = (i < 5).then_some((i + 1, Fault::Missing { found: i + 2 }));
        assert_eq!(fault(&removed), expected, "entry {} removed", i + 1);

        let mut repeated = good.clone();
        repeated.insert(at, good[at].clone());
        assert_eq!(
            fault(&repeated),
            Some((i + 2, Fault::Repeated { found: i + 1 })),
            "entry {} twice",
            i + 1
        );

        for j in i + 1..6 {
            let mut exchanged = good.clone();
            exchanged.swap(at, j as usize);
            assert_eq!(
                fault(&exchanged),
                Some((i + 1, Fault::Missing { found: j + 1 })),
                "{i} and {j} exchanged"
            );
        }
    }
}

#[test]
fn a_removal_with_new_numbers_is_found() {
    let mut entries = log(6);
    entries.remove(2);
    for (entry, sequence) in entries.iter_mut().zip(1..) {
        entry.sequence = sequence;
        entry.hash = entry.computed_hash();
    }
    // Entry 4 of old is entry 3 now and still points at the entry that is gone.
    assert_eq!(fault(&entries), Some((3, Fault::Unlinked)));
}

#[test]
fn an_anchor_finds_a_cut_and_a_rewritten_log() {
    let good = log(10);
    let anchor = good[7].head();
    assert_eq!(verify_with_anchor(&good, anchor), Ok(good[9].head()), "the log may grow past its anchor");
    assert_eq!(verify_with_anchor(&good[..8], anchor), Ok(anchor));
    for length in 0..8 {
        let expected = Break { sequence: length as u64 + 1, what: Fault::CutOff };
        assert_eq!(verify(&good[..length]).map(|head| head.sequence), Ok(length as u64));
        assert_eq!(verify_with_anchor(&good[..length], anchor), Err(expected));
    }
    // Rewritten from entry 3 on, every hash made anew: a good chain, but not this one.
    let mut forged = good[..2].to_vec();
    for i in 3..=10 {
        let other = Event { actor: "somebody".to_owned(), ..event(i) };
        forged.push(next(forged[forged.len() - 1].head(), other).expect("an event in a test"));
    }
    assert_eq!(verify(&forged), Ok(forged[9].head()));
    assert_eq!(verify_with_anchor(&forged, anchor), Err(Break { sequence: 8, what: Fault::Forked }));
}

#[test]
fn an_event_without_an_actor_or_in_local_time_is_refused() {
    let table: [(fn(&mut Event), EventError); 7] = [
        (|e| e.actor.clear(), EventError::Missing { field: "actor" }),
        (|e| e.role = " ".to_owned(), EventError::Missing { field: "role" }),
        (|e| e.action.clear(), EventError::Missing { field: "action" }),
        (|e| e.at = "2026-03-01T08:00:00+08:00".to_owned(), EventError::Time),
        (|e| e.at = "2026-03-01 08:00".to_owned(), EventError::Time),
        (|e| e.at = "2026-02-30T08:00:00Z".to_owned(), EventError::Time),
        (|e| e.at.clear(), EventError::Time),
    ];
    for (change, error) in table {
        let mut event = event(1);
        change(&mut event);
        assert_eq!(next(Head::EMPTY, event), Err(error));
    }
    let end = Head { sequence: u64::MAX, hash: Digest([1; 32]) };
    assert_eq!(next(end, event(1)), Err(EventError::Full));
}

#[test]
fn entries_and_heads_are_read_back_as_they_were_written() {
    for entry in log(2) {
        let json = serde_json::to_string(&entry).expect("an entry is plain text");
        assert_eq!(serde_json::from_str::<Entry>(&json).ok(), Some(entry.clone()));
        let head = entry.head();
        assert_eq!(head.to_string().parse(), Ok(head));
        // Added text that the hash would not cover, or would cover with another value.
        let key_twice = json.replacen("\"reason\":", "\"reason\":\"forged\",\"reason\":", 1);
        let key_more = json.replacen('{', "{\"note\":\"forged\",", 1);
        let key_less = json.replacen("\"role\":\"coordinator\",", "", 1);
        for altered in [key_twice, key_more, key_less] {
            assert_ne!(altered, json);
            assert!(serde_json::from_str::<Entry>(&altered).is_err(), "{altered}");
        }
    }
    assert_eq!(Head::EMPTY.to_string().parse(), Ok(Head::EMPTY));
    let good = log(1)[0].head().to_string();
    for refused in [format!("0{good}"), format!("+{good}"), good.replacen('1', "0", 1), good.replace(' ', "")]
    {
        assert_eq!(refused.parse::<Head>(), Err(NotAHead), "{refused}");
    }
}
