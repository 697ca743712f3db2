//! One inbox row, taken apart: the versions of resources in it, and what could not be used and why.
//!
//! Depends on nothing but the row, the trial with its site, and the installation's salt, so that an
//! answer given before the row is processed, the processing itself, and a replay years later agree.

use crate::collection::{Loose, Surroundings, path_of, reason, surroundings, type_of};
use crate::fact::{Gap, Reason};
use crate::fhir::bundle::{self, Content, Piece, Request};
use crate::fhir::json::{self, JsonError};
use crate::fhir::reference::{is_id, type_and_id};
use crate::fhir::release::{is_resource_type, is_type_name};
use crate::fhir::resource::{Head, Linkage, PatientIdentity};
use crate::fhir::text::Text;
use crate::hl7v2::message::Message;
use crate::identity::{Identity, LinkKind, PersonIdentifier, PersonLink};
use crate::mapping;
use crate::normalize::hl7v2::{self, Converted, MessageProblem};
use crate::normalize::{Body, fhir};
use crate::pipeline::OWN_SOURCE;
use crate::protocol::Trial;
use crate::protocol::document::hex;
use crate::store::{InboxItem, InboxState, NewQuarantine, NewRecord, RecordKey};
use sha2::{Digest, Sha256};

/// Media type of HL7 v2 messages in the inbox.
pub const HL7_V2: &str = "application/hl7-v2";
/// Media type of bytes that are no message.
pub const BYTES: &str = "application/octet-stream";

/// Types that say something about a message or a search, and nothing about a patient.
const ENVELOPES: [&str; 4] = ["Parameters", "SubscriptionStatus", "OperationOutcome", "MessageHeader"];

/// What a batch, a transaction or a single request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interaction {
    Create,
    Update,
    Delete,
    /// Nothing was asked; the resource was sent along.
    Convey,
}

/// Something wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub reason: Reason,
    /// Below the document: `Bundle.entry[3].resource.valueQuantity.code`, `OBX[2]-6`.
    pub path: String,
    /// Nothing of the entry is taken. Otherwise it is stored, and a value of it cannot be used.
    pub fatal: bool,
}

/// What becomes of one entry. Holds no value of the patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: String,
    pub interaction: Interaction,
    pub resource_type: String,
    /// Under which id it is kept; empty where there is none.
    pub id: String,
    pub problems: Vec<Problem>,
}

impl Entry {
    pub fn is_taken(&self) -> bool {
        !self.problems.iter().any(|p| p.fatal)
    }
}

/// A document taken apart.
#[derive(Debug)]
pub struct Taken {
    pub records: Vec<NewRecord>,
    pub quarantine: Vec<NewQuarantine>,
    pub entries: Vec<Entry>,
    /// Nothing of the document could be read.
    pub whole: Option<Problem>,
    pub bundle_type: Option<String>,
    /// Entries of `quarantine` whose resource was read, and holds a value that cannot be used as it is.
    pub values: usize,
    /// Entries of the Bundle, those included of which nothing is said above.
    pub size: usize,
    /// A transaction of which nothing is taken, because an entry could not be.
    pub is_refused: bool,
}

impl Taken {
    pub fn state(&self) -> InboxState {
        match self.whole.is_some() || self.is_refused {
            true => InboxState::Quarantined,
            false => InboxState::Processed,
        }
    }
}

/// Takes a row apart. `at` is written on what is set aside.
pub fn take(item: &InboxItem, trial: &Trial, salt: &str, at: &str) -> Taken {
    let mut intake = Intake {
        item,
        trial,
        salt,
        at,
        out: Taken {
            records: Vec::new(),
            quarantine: Vec::new(),
            entries: Vec::new(),
            whole: None,
            bundle_type: None,
            values: 0,
            size: 0,
            is_refused: false,
        },
    };
    intake.document();
    let mut out = intake.out;
    if out.bundle_type.as_deref() == Some("transaction")
        && is_received(&item.origin)
        && !out.entries.iter().all(Entry::is_taken)
    {
        out.is_refused = true;
        out.records.clear();
        out.quarantine.push(NewQuarantine {
            inbox_seq: item.seq,
            reason: Reason::TransactionRefused.code().to_owned(),
            path: String::new(),
            bytes: None,
            at: at.to_owned(),
        });
    }
    out
}

/// Did somebody send it to us, so that the order of arrival is the sender's and requests in it are
/// meant? What was pulled or lay in a file has neither.
fn is_received(origin: &str) -> bool {
    matches!(origin, "push" | "subscription" | "mllp")
}

/// The key of a subject that is only known by an identifier, without `Patient/`.
pub fn alias_id(salt: &str, system: &str, value: &str) -> String {
    format!("id.{}", keyed(salt, &[system, value]))
}

/// JSON without the blanks between its tokens: a server that indents what it sends to a hook and not what it
/// answers to a search sends the same version twice, not two that contradict each other.
pub fn without_blanks(json: &str) -> Vec<u8> {
    let (mut is_text, mut is_escaped) = (false, false);
    let keeps = |b: &u8| {
        let kept = is_text || !matches!(b, b' ' | b'\t' | b'\n' | b'\r');
        match b {
            b'"' if !is_escaped => is_text = !is_text,
            _ => {}
        }
        is_escaped = is_text && *b == b'\\' && !is_escaped;
        kept
    };
    json.bytes().filter(keeps).collect()
}

/// Sixteen hexadecimal digits for some parts. Nobody finds the parts without the salt.
pub fn keyed(salt: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in std::iter::once(&salt).chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize()[..8])
}

struct Intake<'a> {
    item: &'a InboxItem,
    trial: &'a Trial,
    salt: &'a str,
    at: &'a str,
    out: Taken,
}

/// Where an entry stands, and what was asked for it.
struct Place<'a> {
    path: String,
    full_url: Option<&'a str>,
    interaction: Interaction,
    /// The id that the request names.
    id: Option<String>,
}

impl Intake<'_> {
    fn document(&mut self) {
        let item = self.item;
        let read = match item.media_type.as_str() {
            BYTES => {
                self.whole(Reason::NotAMessage, String::new());
                return;
            }
            HL7_V2 => {
                self.message();
                return;
            }
            _ => json::text(&item.bytes).and_then(|text| self.json(text)),
        };
        if let Err(error) = read {
            self.whole(reason(&error), path_of(&error));
        }
    }

    /// An HL7 v2 message: the resources that it stands for.
    fn message(&mut self) {
        let (item, salt) = (self.item, self.salt);
        let site = &self.trial.site.hl7v2;
        // An identifier is named as everywhere else, so that its subject is the same whoever sends it.
        let key = |parts: &[&str]| keyed(salt, parts);
        let read = Message::parse(&item.bytes, site.charset)
            .map_err(MessageProblem::from)
            .and_then(|message| hl7v2::resources(&message, site, &key));
        let converted = match read {
            Ok(hl7v2::Content::Resources(converted)) => converted,
            Ok(hl7v2::Content::NotNeeded) => return,
            Err(problem) => {
                self.whole(problem.reason(), problem.location.to_string());
                return;
            }
        };
        for Converted { path, content } in converted {
            let place = Place { path, full_url: None, interaction: Interaction::Convey, id: None };
            match content {
                Ok(text) => self.resource(&text, place, &Surroundings::default()),
                Err((reason, field)) => self.unusable(place, "", reason, field, None),
            }
        }
    }

    /// An error means that nothing of it could be read.
    fn json(&mut self, text: &str) -> Result<(), JsonError> {
        if json::too_deep(text) {
            return Err(JsonError::TooDeep);
        }
        let head = json::read_shallow::<Head<'_>>(text)?;
        match head.resource_type.as_deref() {
            Some("Bundle") => self.bundle(text, "")?,
            Some(_) => {
                let place = Place {
                    path: String::new(),
                    full_url: None,
                    interaction: if head.id.is_some() { Interaction::Update } else { Interaction::Create },
                    id: None,
                };
                self.resource(text, place, &Surroundings::default());
            }
            None => return Err(JsonError::Structure { path: "resourceType".into() }),
        }
        Ok(())
    }

    /// Takes in each entry; one that cannot be used leaves the others alone. The answer to a batch of
    /// searches holds Bundles.
    fn bundle(&mut self, text: &str, above: &str) -> Result<(), JsonError> {
        let (bundle_type, pieces) = bundle::split_typed(text)?;
        let bundle_type = bundle_type.map(|t| t.to_string());
        let asks =
            is_received(&self.item.origin) && matches!(bundle_type.as_deref(), Some("batch" | "transaction"));
        if above.is_empty() {
            self.out.bundle_type = bundle_type;
            self.out.size = pieces.len();
        }
        let mut around = surroundings(&pieces);
        if asks {
            for piece in &pieces {
                if let (Some(url), Some(reference)) = (&piece.full_url, self.assigned(piece)) {
                    around.rename(url, reference);
                }
            }
        }
        for piece in pieces {
            let path = if above.is_empty() { piece.path } else { format!("{above}.resource.{}", piece.path) };
            let mut place = Place {
                path,
                full_url: piece.full_url.as_deref(),
                interaction: Interaction::Convey,
                id: None,
            };
            let content = match piece.content {
                Ok(content) => content,
                Err(error) => {
                    let at = below(&place.path, &path_of(&error));
                    self.unusable(place, "", reason(&error), at, None);
                    continue;
                }
            };
            if asks
                && let Err((reason, at)) = understand(&mut place, piece.request.as_ref(), &content, self.salt)
            {
                let text = match content {
                    Content::Resource(text) => Some(text),
                    _ => None,
                };
                self.unusable(place, "", reason, at, text);
                continue;
            }
            match content {
                Content::Resource(text) if type_of(text).as_deref() == Some("Bundle") => {
                    let path = place.path.clone();
                    if let Err(error) = self.bundle(text, &path) {
                        let at = below(&format!("{path}.resource"), &path_of(&error));
                        self.unusable(place, "Bundle", reason(&error), at, Some(text));
                    }
                }
                // What a notification or an operation says of itself.
                Content::Resource(text)
                    if matches!(type_of(text).as_deref(), Some("Parameters" | "SubscriptionStatus")) => {}
                Content::Resource(text) => self.resource(text, place, &around),
                Content::Deletion(url) => self.deletion(&url, place),
                Content::Nothing => {}
            }
        }
        Ok(())
    }

    /// The id that an entry without one is given, where its sender says what makes it the same: a
    /// condition (`ifNoneExist`), or a Patient's first identifier.
    fn assigned(&self, piece: &Piece<'_>) -> Option<String> {
        let Ok(Content::Resource(text)) = &piece.content else { return None };
        let head: Head<'_> = json::read_shallow(text).ok()?;
        if head.id.is_some() {
            return None;
        }
        let resource_type = head.resource_type?;
        let id = self.own_id(&resource_type, text, piece.request.as_ref())?;
        Some(format!("{resource_type}/{id}"))
    }

    fn own_id(&self, resource_type: &str, text: &str, request: Option<&Request<'_>>) -> Option<String> {
        let condition = request.and_then(|r| {
            let conditional_update = r.url.as_deref().and_then(|u| u.split_once('?')).map(|(_, query)| query);
            r.if_none_exist.as_deref().or(conditional_update)
        });
        let named = condition.and_then(identifier_in).or_else(|| {
            (resource_type == "Patient").then(|| identifiers(text).into_iter().next()).flatten()
        })?;
        Some(match resource_type {
            "Patient" => alias_id(self.salt, &named.system, &named.value),
            other => format!("id.{}", keyed(self.salt, &[other, &named.system, &named.value])),
        })
    }

    fn resource(&mut self, text: &str, place: Place<'_>, around: &Surroundings) {
        let at_resource = |element: &str| match (place.path.is_empty(), element.is_empty()) {
            (true, _) => element.to_owned(),
            (false, true) => format!("{}.resource", place.path),
            (false, false) => format!("{}.resource.{element}", place.path),
        };
        let mut problems: Vec<Problem> = Vec::new();
        let mut note =
            |reason: Reason, path: String, fatal: bool| problems.push(Problem { reason, path, fatal });
        // The head and the subject are enough to store it; what is broken elsewhere is a gap later.
        let read = fhir::record_shallow(text);
        let (resource_type, id, version_id, last_updated, named, needs_subject) = match &read {
            Ok(record) => {
                let known = is_resource_type(&record.head.resource_type);
                if matches!(record.body, Body::Other) && !known {
                    note(Reason::UnknownType, at_resource("resourceType"), false);
                }
                let needs_one =
                    !matches!(record.body, Body::Medication { .. } | Body::Study { .. } | Body::Other);
                let h = &record.head;
                (
                    h.resource_type.to_string(),
                    h.id.to_string(),
                    h.version.as_deref().map(str::to_owned),
                    h.last_updated.as_deref().map(str::to_owned),
                    record.subject.as_deref().map(str::to_owned),
                    needs_one,
                )
            }
            Err(error) => {
                note(reason(error), at_resource(&path_of(error)), true);
                let loose = json::read_shallow::<Loose<'_>>(text).unwrap_or_default();
                let own = |text: &Option<Text<'_>>| text.as_deref().map(str::to_owned);
                let meta = loose.meta.unwrap_or_default();
                let named = loose.subject.or(loose.patient).and_then(|r| r.reference);
                // As a version of the resource: what an older one said may be corrected here, and is
                // not used any more.
                // A type is printed everywhere, as an id is: one that is none could hold anything.
                (
                    own(&loose.resource_type).filter(|t| is_type_name(t)).unwrap_or_default(),
                    own(&loose.id).unwrap_or_default(),
                    own(&meta.version_id),
                    own(&meta.last_updated),
                    named.as_deref().map(str::to_owned),
                    false,
                )
            }
        };
        if ENVELOPES.contains(&resource_type.as_str()) {
            return;
        }
        let mut id = id;
        if !id.is_empty() && !is_id(&id) {
            // An id is printed everywhere: one that is none could hold anything.
            note(Reason::Structure, at_resource("id"), true);
            id = String::new();
        } else if id.is_empty() {
            id = match (&place.id, place.full_url.and_then(|u| u.strip_prefix("urn:uuid:"))) {
                (Some(id), _) => id.clone(),
                (None, Some(uuid)) => uuid.to_owned(),
                (None, None) => match self.own_id(&resource_type, text, None) {
                    Some(id) if is_received(&self.item.origin) => id,
                    _ => hex(&Sha256::digest(text.as_bytes())[..8]),
                },
            };
            if let Some(found) = place.full_url.and_then(|url| around.named(url)).and_then(type_and_id) {
                id = found.1.to_owned();
            }
            if !is_id(&id) {
                note(Reason::Structure, below(&place.path, "fullUrl"), true);
            }
        }
        // What can be read would be used: the result of a group, a device or nobody does not become the
        // patient's because no other patient is near. A gap or a retraction may stand by that patient.
        let may_stand_in =
            !needs_subject || read.as_ref().is_ok_and(|r| matches!(r.body, Body::Retracted { .. }));
        let mut identity = Identity::default();
        let subject = match resource_type.as_str() {
            "Patient" => Some(format!("Patient/{id}")),
            other => {
                let direct = named.as_deref().and_then(|s| around.resolve(s)).map(String::from);
                let is_alias = direct.as_deref().is_some_and(|d| d.starts_with("Patient/id."));
                if (direct.is_none() || is_alias)
                    && let Some(by) = self.subject_identifier(text, is_alias)
                {
                    let key = format!("Patient/{}", alias_id(self.salt, &by.system, &by.value));
                    identity.alias = direct.as_ref().is_none_or(|d| *d == key).then_some(by);
                }
                direct
                    .or_else(|| {
                        let by = identity.alias.as_ref()?;
                        Some(format!("Patient/{}", alias_id(self.salt, &by.system, &by.value)))
                    })
                    .or_else(|| {
                        (may_stand_in && !super::is_shared(other)).then(|| around.only_patient.clone())?
                    })
            }
        };
        if resource_type == "Patient" {
            identity = self.patient(text, &id, around);
        } else if resource_type == "Linkage" && self.item.source == OWN_SOURCE {
            identity.links = ruling(text).into_iter().collect();
        }
        if subject.is_none() && needs_subject {
            note(Reason::SubjectMissing, at_resource(subject_element(&resource_type)), false);
        }
        // What belongs to nobody is nobody's value.
        if let (Ok(record), Some(_)) = (&read, &subject) {
            let mapped = mapping::apply(record, self.trial);
            for gap in mapped.gaps.iter().filter(|g| is_set_aside(g)) {
                let element = gap.path.split_once('.').map_or(&*gap.path, |(_, element)| element);
                let path = if place.path.is_empty() { gap.path.to_string() } else { at_resource(element) };
                note(gap.reason, path, false);
                self.out.values += 1;
            }
        }
        for problem in &problems {
            self.set_aside(problem.reason, &problem.path, Some(text));
        }
        let storable = !id.is_empty() && is_id(&id) && !resource_type.is_empty();
        if storable {
            let received = is_received(&self.item.origin);
            let undated = version_id.is_none() && last_updated.is_none();
            self.out.records.push(NewRecord {
                key: RecordKey {
                    source: self.item.source.clone(),
                    resource_type: resource_type.clone(),
                    id: id.clone(),
                },
                version_id,
                // As a FHIR server does on an update: a version that brings no date has that of its
                // arrival. Of what is pulled, the server keeps the dates.
                last_updated: last_updated
                    .or_else(|| (received && undated).then(|| self.item.received_at.clone())),
                subject,
                deleted: false,
                inbox_seq: self.item.seq,
                path: place.path.clone(),
                body: without_blanks(&around.literal(text)),
                identity,
            });
        }
        self.out.entries.push(Entry {
            path: place.path,
            interaction: place.interaction,
            resource_type,
            id,
            problems,
        });
    }

    /// Identifiers and links of a Patient.
    fn patient(&self, text: &str, id: &str, around: &Surroundings) -> Identity {
        let shape: PatientIdentity<'_> = json::read_shallow(text).unwrap_or_default();
        let own = format!("Patient/{id}");
        let mut identity = Identity { identifiers: identifiers(text), ..Identity::default() };
        if let Some(found) =
            identity.identifiers.iter().find(|i| alias_id(self.salt, &i.system, &i.value) == id)
        {
            identity.alias = Some(found.clone());
        }
        for link in &shape.link {
            let other = link.other.as_ref().and_then(|o| around.resolve(o.reference.as_deref()?));
            let Some(other) = other.map(String::from) else { continue };
            let (kind, subject, other) = match link.link_type.as_deref() {
                Some("replaced-by") => (LinkKind::ReplacedBy, own.clone(), other),
                Some("replaces") => (LinkKind::ReplacedBy, other, own.clone()),
                Some("seealso") if own < other => (LinkKind::SeeAlso, own.clone(), other),
                Some("seealso") => (LinkKind::SeeAlso, other, own.clone()),
                _ => continue,
            };
            if subject != other {
                identity.links.push(PersonLink { kind, subject, other });
            }
        }
        identity
    }

    /// The identifier of a subject that is not referred to by an id: a logical or a conditional
    /// reference.
    fn subject_identifier(&self, text: &str, beside_reference: bool) -> Option<PersonIdentifier> {
        let loose = json::read_shallow::<Loose<'_>>(text).ok()?;
        let reference = loose.subject.or(loose.patient)?;
        if let Some(conditional) = reference.reference.as_deref().and_then(|r| r.strip_prefix("Patient?")) {
            return identifier_in(conditional);
        }
        if reference.reference.is_some() && !beside_reference {
            return None;
        }
        let identifier = reference.identifier?;
        let (system, value) = (identifier.system?, identifier.value?);
        Some(PersonIdentifier { system: system.to_string(), value: value.to_string() })
    }

    fn deletion(&mut self, url: &str, place: Place<'_>) {
        let Some((resource_type, id)) = type_and_id(url) else {
            let at = below(&place.path, "request.url");
            self.unusable(place, "", Reason::Unresolved, at, None);
            return;
        };
        self.out.records.push(NewRecord {
            key: RecordKey {
                source: self.item.source.clone(),
                resource_type: resource_type.to_owned(),
                id: id.to_owned(),
            },
            version_id: None,
            last_updated: Some(self.item.received_at.clone()),
            subject: None,
            deleted: true,
            inbox_seq: self.item.seq,
            path: place.path.clone(),
            body: Vec::new(),
            identity: Identity::default(),
        });
        self.out.entries.push(Entry {
            path: place.path,
            interaction: Interaction::Delete,
            resource_type: resource_type.to_owned(),
            id: id.to_owned(),
            problems: Vec::new(),
        });
    }

    fn whole(&mut self, reason: Reason, path: String) {
        // The bytes stand in the inbox row itself.
        self.set_aside(reason, &path, None);
        self.out.whole = Some(Problem { reason, path, fatal: true });
    }

    /// An entry of which nothing is taken.
    fn unusable(
        &mut self,
        place: Place<'_>,
        resource_type: &str,
        reason: Reason,
        at: String,
        text: Option<&str>,
    ) {
        self.set_aside(reason, &at, text);
        self.out.entries.push(Entry {
            path: place.path,
            interaction: place.interaction,
            resource_type: resource_type.to_owned(),
            id: String::new(),
            problems: vec![Problem { reason, path: at, fatal: true }],
        });
    }

    fn set_aside(&mut self, reason: Reason, path: &str, text: Option<&str>) {
        self.out.quarantine.push(NewQuarantine {
            inbox_seq: self.item.seq,
            reason: reason.code().to_owned(),
            path: path.to_owned(),
            bytes: text.map(|t| t.as_bytes().to_vec()),
            at: self.at.to_owned(),
        });
    }
}

fn below(path: &str, element: &str) -> String {
    match (path.is_empty(), element.is_empty()) {
        (true, _) => element.to_owned(),
        (false, true) => path.to_owned(),
        (false, false) => format!("{path}.{element}"),
    }
}

/// Reads what a batch or transaction asks for an entry.
///
/// # Source
/// FHIR R4 http.html#transaction-response and bundle.html: `request` is required there; the id in the
/// URL of an update is that of the resource.
fn understand(
    place: &mut Place<'_>,
    request: Option<&Request<'_>>,
    content: &Content<'_>,
    salt: &str,
) -> Result<(), (Reason, String)> {
    let at = |element: &str| below(&place.path, element);
    let structure = |element: &str| Err((Reason::Structure, at(element)));
    let Some(request) = request else { return structure("request") };
    let url = request.url.as_deref().unwrap_or_default();
    let resource = match content {
        Content::Resource(text) => Some(*text),
        _ => None,
    };
    let head = resource.and_then(|text| json::read_shallow::<Head<'_>>(text).ok());
    let sent_type = head.as_ref().and_then(|h| h.resource_type.as_deref());
    let sent_id = head.as_ref().and_then(|h| h.id.as_deref());
    match request.method.as_deref() {
        Some("POST") => {
            place.interaction = Interaction::Create;
            match (resource, sent_type) {
                (None, _) => structure("resource"),
                // An operation such as `$process-message`.
                (_, Some(t)) if url != t => Err((Reason::NotSupported, at("request.url"))),
                _ => {
                    if sent_id.is_none() {
                        let named = request.if_none_exist.as_deref().and_then(identifier_in);
                        place.id = named.map(|i| conditional_id(salt, sent_type.unwrap_or_default(), &i));
                    }
                    Ok(())
                }
            }
        }
        Some("PUT") => {
            place.interaction = Interaction::Update;
            if resource.is_none() {
                return structure("resource");
            }
            if let Some((named_type, query)) = url.split_once('?') {
                let Some(identifier) = identifier_in(query).filter(|_| sent_type == Some(named_type)) else {
                    return Err((Reason::NotSupported, at("request.url")));
                };
                if sent_id.is_none() {
                    place.id = Some(conditional_id(salt, named_type, &identifier));
                }
                return Ok(());
            }
            match type_and_id(url) {
                // A resource that cannot be read says so itself.
                Some(_) if sent_type.is_none() => Ok(()),
                Some((named_type, id)) if sent_type == Some(named_type) => match sent_id {
                    Some(sent) if sent != id => structure("resource.id"),
                    Some(_) => Ok(()),
                    None => structure("resource.id"),
                },
                _ => structure("request.url"),
            }
        }
        Some("DELETE") => {
            place.interaction = Interaction::Delete;
            match type_and_id(url) {
                Some(_) => Ok(()),
                None => Err((Reason::NotSupported, at("request.url"))),
            }
        }
        Some(_) => Err((Reason::NotSupported, at("request.method"))),
        None => structure("request.method"),
    }
}

fn conditional_id(salt: &str, resource_type: &str, identifier: &PersonIdentifier) -> String {
    match resource_type {
        "Patient" => alias_id(salt, &identifier.system, &identifier.value),
        other => format!("id.{}", keyed(salt, &[other, &identifier.system, &identifier.value])),
    }
}

/// `identifier=system|value` of a search, percent-encoded or not.
fn identifier_in(query: &str) -> Option<PersonIdentifier> {
    let mut found = url::form_urlencoded::parse(query.trim_start_matches('?').as_bytes());
    let (name, token) = found.next()?;
    // Any further condition narrows it in a way that is not understood here.
    if name != "identifier" || found.next().is_some() {
        return None;
    }
    let (system, value) = token.split_once('|')?;
    (!system.is_empty() && !value.is_empty())
        .then(|| PersonIdentifier { system: system.to_owned(), value: value.to_owned() })
}

/// The identifiers of a Patient that can name a person: with a system, and not a temporary one.
fn identifiers(text: &str) -> Vec<PersonIdentifier> {
    let shape: PatientIdentity<'_> = json::read_shallow(text).unwrap_or_default();
    let named = shape.identifier.iter().filter(|i| i.usage.as_deref() != Some("temp"));
    let mut all: Vec<PersonIdentifier> = Vec::new();
    for identifier in named {
        let (Some(system), Some(value)) = (identifier.system.as_deref(), identifier.value.as_deref()) else {
            continue;
        };
        let found = PersonIdentifier { system: system.to_owned(), value: value.trim().to_owned() };
        if !system.is_empty() && !found.value.is_empty() && !all.contains(&found) {
            all.push(found);
        }
    }
    all
}

/// What a Linkage of our own says: its source item is the subject that the alternate one belongs to.
fn ruling(text: &str) -> Option<PersonLink> {
    let linkage: Linkage<'_> = json::read_shallow(text).ok()?;
    let item = |wanted: &str| {
        let found = linkage.item.iter().find(|i| i.item_type.as_deref() == Some(wanted))?;
        let reference = found.resource.as_ref()?.reference.as_deref()?;
        type_and_id(reference).map(|(t, id)| format!("{t}/{id}"))
    };
    let kind = if linkage.active == Some(true) { LinkKind::Same } else { LinkKind::Different };
    Some(PersonLink { kind, subject: item("source")?, other: item("alternate")? })
}

fn subject_element(resource_type: &str) -> &'static str {
    match resource_type {
        "AllergyIntolerance" | "Consent" => "patient",
        _ => "subject",
    }
}

/// A value that a person can make usable, by a correction at the source or in the site file. What is
/// simply not the trial's business (`unmapped`, `data-absent`, a preliminary result) is not set aside.
fn is_set_aside(gap: &Gap) -> bool {
    use Reason::*;
    gap.variable.is_some()
        && matches!(
            gap.reason,
            UnitMissing
                | UnitUnknown
                | UnitConflict
                | Implausible
                | ValueMissing
                | ValueInvalid
                | UnexpectedType
                | CodeConflict
                | AnswerUnknown
                | EffectiveMissing
                | DateInvalid
                | SubjectMissing
        )
}

#[cfg(test)]
mod tests {
    use super::without_blanks;

    #[test]
    fn blanks_go_and_texts_stay() {
        for (json, expected) in [
            ("{\n\t\"a\" : [ 1.50 , 2e0 ],\r\n \"b\": true }", r#"{"a":[1.50,2e0],"b":true}"#),
            (r#"{ "a b" : "c  d" }"#, r#"{"a b":"c  d"}"#),
            (r#"{"a": "x \" y \\", "b": "\\\" z"}"#, r#"{"a":"x \" y \\","b":"\\\" z"}"#),
            ("{ \"a\": \"肝 硬\" }", "{\"a\":\"肝 硬\"}"),
        ] {
            assert_eq!(without_blanks(json), expected.as_bytes(), "{json}");
        }
    }
}
