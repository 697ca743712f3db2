//! Any history ends the same: digested bit by bit or at once, once or again, and, where what came says
//! which version is newer, in any order.

use super::*;
use proptest::prelude::*;
use proptest::sample::select;

/// Something that comes in.
#[derive(Clone, Debug)]
struct Arrival {
    origin: &'static str,
    source: &'static str,
    document: Value,
    received_at: String,
}

#[derive(Clone, Debug)]
enum Event {
    /// Who is who, or a result.
    Comes(&'static str, Value),
    /// A person's word.
    Ruled(String, String, bool),
    /// An earlier document comes again.
    Again(prop::sample::Index),
    /// What lies in the inbox is digested.
    Digested,
}

fn meta(version: u8, day: u8) -> Value {
    let mut meta = serde_json::Map::new();
    if version > 0 {
        meta.insert("versionId".into(), version.to_string().into());
    }
    if day > 0 {
        meta.insert("lastUpdated".into(), format!("2026-11-{day:02}T00:00:00Z").into());
    }
    Value::Object(meta)
}

/// Patients, aliases with a Patient of their own, and nobody.
fn somebody() -> impl Strategy<Value = String> {
    select(vec![
        "p1".to_owned(),
        "p2".to_owned(),
        "p3".to_owned(),
        alias("1")[8..].to_owned(),
        alias("2")[8..].to_owned(),
    ])
}

/// `dated`: whatever can change says which version it is.
fn a_meta(dated: bool) -> impl Strategy<Value = Value> {
    (0u8..4, 0u8..4, any::<bool>()).prop_map(move |(version, day, both)| match dated {
        true => meta(if both { version } else { 0 }, day + 1),
        false => meta(version, day),
    })
}

fn a_patient(dated: bool) -> impl Strategy<Value = Value> {
    let numbers = prop::sample::subsequence(vec!["1", "2", "3"], 0..=2);
    let link = prop::option::weighted(0.3, (select(vec!["replaced-by", "replaces", "seealso"]), somebody()));
    (somebody(), numbers, link, select(vec!["1970-01-01", "1975-05-05"]), a_meta(dated)).prop_map(
        |(id, numbers, link, birth, meta)| {
            let mut p = patient(&id, &numbers);
            p["birthDate"] = birth.into();
            p["meta"] = meta;
            if let Some((kind, other)) = link {
                p["link"] = json!([{"type": kind, "other": {"reference": format!("Patient/{other}")}}]);
            }
            p
        },
    )
}

fn a_result(dated: bool) -> impl Strategy<Value = Value> {
    let subject =
        prop_oneof![somebody().prop_map(|id| of(&id)), select(vec!["1", "2", "3"]).prop_map(known_as),];
    let status = select(vec!["final", "final", "corrected", "entered-in-error", "preliminary"]);
    (select(vec!["o1", "o2", "o3"]), subject, status, 1u8..5, a_meta(dated)).prop_map(
        |(id, subject, status, value, meta)| {
            let mut o = bilirubin(id, subject, &value.to_string());
            o["status"] = status.into();
            o["meta"] = meta;
            o
        },
    )
}

fn an_event(dated: bool) -> impl Strategy<Value = Event> {
    let origin = || select(vec!["push", "push", "pull"]);
    let gone = select(vec!["Patient/p1", "Patient/p2", "Observation/o1", "Observation/o2"]);
    prop_oneof![
        4 => (origin(), a_patient(dated)).prop_map(|(origin, p)| Event::Comes(origin, p)),
        5 => (origin(), a_result(dated)).prop_map(|(origin, o)| Event::Comes(origin, o)),
        1 => (a_patient(dated), a_result(dated)).prop_map(|(p, o)| Event::Comes("push", transaction(&[p, o]))),
        1 => gone.prop_map(|r| Event::Comes("push", deletion(r))),
        2 => (somebody(), somebody(), any::<bool>())
            .prop_map(|(a, b, same)| Event::Ruled(format!("Patient/{a}"), format!("Patient/{b}"), same)),
        1 => any::<prop::sample::Index>().prop_map(Event::Again),
        2 => Just(Event::Digested),
    ]
}

/// What came, in order, with its time; `None`: the inbox is digested here.
fn arrivals(events: &[Event]) -> Vec<Option<Arrival>> {
    let start: DateTime<Utc> = NOW.parse().expect("an instant");
    let mut all: Vec<Option<Arrival>> = Vec::new();
    for (minute, event) in (1i64..).zip(events) {
        let received_at = stamp(start + chrono::TimeDelta::minutes(minute));
        let next = match event {
            Event::Comes(origin, document) => {
                Arrival { origin, source: BASE, document: document.clone(), received_at }
            }
            Event::Ruled(a, b, _) if a == b => continue,
            Event::Ruled(a, b, same) => {
                let document = questions::linkage(a, b, *same, &received_at);
                Arrival { origin: "identity", source: OWN_SOURCE, document, received_at }
            }
            Event::Again(which) => {
                let before: Vec<&Arrival> = all.iter().flatten().collect();
                if before.is_empty() {
                    continue;
                }
                Arrival { received_at, ..which.get(&before).to_owned().clone() }
            }
            Event::Digested => {
                all.push(None);
                continue;
            }
        };
        all.push(Some(next));
    }
    all
}

impl World {
    fn takes(&self, arrival: &Arrival) {
        let bytes = arrival.document.to_string().into_bytes();
        let incoming = Incoming {
            received_at: arrival.received_at.clone(),
            ..self.incoming(arrival.origin, arrival.source, bytes)
        };
        self.store.accept(incoming).expect("accepted");
    }

    /// Everything that is worked out. `by_arrival`: with what names the inbox rows.
    fn state(&self, by_arrival: bool) -> Vec<String> {
        let store = &self.store;
        let mut all = Vec::new();
        for subject in store.subjects().expect("read") {
            all.push(subject.clone());
            for r in store.records_of(&subject).expect("read") {
                let place = by_arrival.then(|| (r.inbox_seq, r.path.clone()));
                all.push(format!(
                    "  record {:?} {:?} {:?} {:?} {} {} {place:?}",
                    r.key, r.version_id, r.last_updated, r.subject, r.state, r.sha256
                ));
            }
            for f in store.facts(&subject).expect("read") {
                all.push(format!("  fact {f:?}"));
            }
            for g in store.gaps(&subject).expect("read") {
                all.push(format!("  gap {g:?}"));
            }
            match store.latest_decision(&subject).expect("read") {
                Some(d) => all.push(format!("  {} {} {}", d.decision, d.input, d.json)),
                None => all.push("  never judged".to_owned()),
            }
        }
        assert_eq!(store.dirty(10).expect("read"), []);
        all
    }
}

fn lived(arrivals: &[Option<Arrival>]) -> World {
    let world = World::new();
    for arrival in arrivals {
        match arrival {
            Some(arrival) => world.takes(arrival),
            None => drop(world.run()),
        }
    }
    world.run();
    world
}

fn histories(dated: bool) -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(an_event(dated), 1..18)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bit_by_bit_at_once_or_again(events in histories(false)) {
        let came = arrivals(&events);
        let world = lived(&came);
        let state = world.state(true);

        let at_once: Vec<Option<Arrival>> = came.iter().filter(|a| a.is_some()).cloned().collect();
        prop_assert_eq!(&lived(&at_once).state(true), &state, "at once");

        world.store.replay_all(crate::store::suite::audit("replay")).expect("replayed");
        world.run();
        prop_assert_eq!(&world.state(true), &state, "again");
    }

    #[test]
    fn in_any_order_where_it_says_which_is_newer(
        (events, order) in histories(true).prop_flat_map(|events| {
            let places: Vec<usize> = (0..events.len()).collect();
            (Just(events), Just(places).prop_shuffle())
        })
    ) {
        let came = arrivals(&events);
        let mut first: Vec<Arrival> = Vec::new();
        for arrival in came.iter().flatten() {
            // What comes again is known by its first arrival.
            if !first.iter().any(|f| f.origin == arrival.origin && f.document == arrival.document) {
                first.push(arrival.clone());
            }
        }
        let other: Vec<Option<Arrival>> = order.iter().filter_map(|i| first.get(*i).cloned().map(Some)).collect();
        prop_assert_eq!(lived(&other).state(false), lived(&came).state(false));
    }
}
