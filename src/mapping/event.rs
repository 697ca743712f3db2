//! Diagnoses, procedures, drugs and allergies.

use super::Mapper;
use crate::fact::*;
use crate::normalize::Event;

impl Mapper<'_> {
    pub(super) fn event(&mut self, event: &Event<'_>) {
        let kind = event.kind;
        let read = self.read(&event.code);
        let hints = if kind.is_medication() && read.sets.is_empty() && !read.named_by_class {
            self.hints(&event.code)
        } else {
            Box::default()
        };
        let elsewhere = event.medication.is_some();
        let unreadable = read.unreadable && !elsewhere;
        // Where absence counts, what might be looked for and cannot be told from its code counts too.
        let doubtful = !read.classified && self.trial.site.has_feed(kind);
        // What no criterion asks for is left alone; allergies are counted whatever they are to.
        let wanted = !read.sets.is_empty()
            || !hints.is_empty()
            || elsewhere
            || unreadable
            || doubtful
            || kind == Kind::AllergyIntolerance;
        if !wanted {
            return;
        }
        if unreadable {
            let code_path = match kind {
                k if k.is_medication() => format!("{}.medication", k.name()),
                k => format!("{}.code", k.name()),
            };
            if read.no_system {
                self.gap(Reason::SystemMissing, &code_path, None, None);
            } else {
                let detail = read.first.is_some().then(|| read.code());
                self.gap(Reason::Unmapped, &code_path, None, detail);
            }
        }
        let when = match &event.when {
            None => None,
            Some(Ok(when)) => Some(when.clone()),
            Some(Err(_)) => {
                self.gap(Reason::DateInvalid, kind.name(), None, None);
                None
            }
        };
        let mut routes: Vec<Index> = Vec::new();
        for route in &event.routes {
            routes.extend(self.read(route).sets);
        }
        routes.sort_unstable();
        routes.dedup();
        let code = read.code();
        self.out.facts.push(Fact::Finding(Finding {
            kind,
            sets: read.sets,
            hints,
            has_route: !event.routes.is_empty(),
            routes: routes.into(),
            unreadable,
            classified: read.classified,
            medication: event.medication.as_deref().map(Box::from),
            certainty: event.certainty,
            current: event.current,
            when,
            category: event.category.as_deref().map(Box::from),
            code,
            source: self.source(),
        }));
    }
}
