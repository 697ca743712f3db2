//! What is offered below `/fhir`, once: requests are matched against it, and the CapabilityStatement is
//! written from it.

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Capabilities,
    SmartConfiguration,
    Bundle,
    Message,
    Validate,
    Preview,
    Create,
    ConditionalUpdate,
    Update,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Exactly this below the base.
    Fixed(&'static str),
    /// `Type`
    Type,
    /// `Type/…`
    TypeThen(&'static str),
    /// `Type/id`
    Instance,
}

/// How the CapabilityStatement speaks of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Declared {
    /// Not there: the specification gives it to every server.
    No,
    /// `rest.interaction`
    System(&'static [&'static str]),
    /// `rest.resource.interaction`
    Type(&'static str),
    /// `rest.resource.conditionalUpdate`
    ConditionalUpdate,
    /// `rest.operation`: name and canonical URL of its definition.
    Operation(&'static str, &'static str),
}

pub(super) struct Offer {
    pub method: &'static str,
    shape: Shape,
    pub does: Does,
    pub declared: Declared,
}

const PROCESS_MESSAGE: &str = "http://hl7.org/fhir/OperationDefinition/MessageHeader-process-message";
const VALIDATE: &str = "http://hl7.org/fhir/OperationDefinition/Resource-validate";
const PREVIEW: &str = "urn:trialbridge:operation:preview";

pub(super) const OFFERS: [Offer; 11] = [
    offer("GET", Shape::Fixed("metadata"), Does::Capabilities, Declared::No),
    offer("GET", Shape::Fixed(".well-known/smart-configuration"), Does::SmartConfiguration, Declared::No),
    offer("POST", Shape::Fixed(""), Does::Bundle, Declared::System(&["transaction", "batch"])),
    offer(
        "POST",
        Shape::Fixed("$process-message"),
        Does::Message,
        Declared::Operation("process-message", PROCESS_MESSAGE),
    ),
    offer("POST", Shape::Fixed("$validate"), Does::Validate, Declared::Operation("validate", VALIDATE)),
    offer("POST", Shape::TypeThen("$validate"), Does::Validate, Declared::No),
    offer(
        "POST",
        Shape::Fixed("$trialbridge-preview"),
        Does::Preview,
        Declared::Operation("trialbridge-preview", PREVIEW),
    ),
    offer("POST", Shape::Type, Does::Create, Declared::Type("create")),
    offer("PUT", Shape::Type, Does::ConditionalUpdate, Declared::ConditionalUpdate),
    offer("PUT", Shape::Instance, Does::Update, Declared::Type("update")),
    offer("DELETE", Shape::Instance, Does::Delete, Declared::Type("delete")),
];

const fn offer(method: &'static str, shape: Shape, does: Does, declared: Declared) -> Offer {
    Offer { method, shape, does, declared }
}

/// What a request was found to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub does: Does,
    pub resource_type: &'a str,
    pub id: &'a str,
}

/// Why nothing was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// There is nothing at this path.
    Path,
    /// Other methods are offered here.
    Method(Vec<&'static str>),
}

impl Shape {
    fn fits<'a>(self, path: &'a str) -> Option<(&'a str, &'a str)> {
        match self {
            Shape::Fixed(fixed) => (path == fixed).then_some(("", "")),
            Shape::Type => is_type(path).then_some((path, "")),
            Shape::TypeThen(rest) => {
                let (resource_type, behind) = path.split_once('/')?;
                (is_type(resource_type) && behind == rest).then_some((resource_type, ""))
            }
            Shape::Instance => {
                let (resource_type, id) = path.split_once('/')?;
                let is_instance = is_type(resource_type)
                    && !id.is_empty()
                    && !id.starts_with(['$', '_'])
                    && !id.contains('/');
                is_instance.then_some((resource_type, id))
            }
        }
    }
}

/// The shape of a type's name. Whether FHIR has such a type says the resource that comes.
fn is_type(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_alphabetic())
}

/// Looks a request up. `path`: what stands behind `/fhir/`.
pub(super) fn find<'a>(method: &str, path: &'a str) -> Result<Asked<'a>, Missed> {
    // Monitors ask with HEAD; what is answered has no body then.
    let method = if method == "HEAD" { "GET" } else { method };
    let mut allowed: Vec<&'static str> = Vec::new();
    for offer in &OFFERS {
        let Some((resource_type, id)) = offer.shape.fits(path) else { continue };
        if offer.method == method {
            return Ok(Asked { does: offer.does, resource_type, id });
        }
        if !allowed.contains(&offer.method) {
            allowed.push(offer.method);
        }
    }
    Err(if allowed.is_empty() { Missed::Path } else { Missed::Method(allowed) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_found() {
        let asked = |does, resource_type, id| Ok(Asked { does, resource_type, id });
        let other = |methods: &[&'static str]| Err(Missed::Method(methods.to_vec()));
        for (method, path, expected) in [
            ("GET", "metadata", asked(Does::Capabilities, "", "")),
            ("HEAD", "metadata", asked(Does::Capabilities, "", "")),
            ("POST", "metadata", other(&["GET"])),
            ("GET", ".well-known/smart-configuration", asked(Does::SmartConfiguration, "", "")),
            ("POST", "", asked(Does::Bundle, "", "")),
            ("GET", "", other(&["POST"])),
            ("PUT", "", other(&["POST"])),
            ("POST", "$process-message", asked(Does::Message, "", "")),
            ("POST", "$validate", asked(Does::Validate, "", "")),
            ("POST", "Observation/$validate", asked(Does::Validate, "Observation", "")),
            ("POST", "$trialbridge-preview", asked(Does::Preview, "", "")),
            ("POST", "Observation", asked(Does::Create, "Observation", "")),
            ("PUT", "Patient", asked(Does::ConditionalUpdate, "Patient", "")),
            ("PUT", "Observation/o1", asked(Does::Update, "Observation", "o1")),
            ("DELETE", "Observation/o1", asked(Does::Delete, "Observation", "o1")),
            ("GET", "Observation/o1", other(&["PUT", "DELETE"])),
            ("PATCH", "Observation/o1", other(&["PUT", "DELETE"])),
            ("GET", "Observation", other(&["POST", "PUT"])),
            ("PUT", "Observation/a b", asked(Does::Update, "Observation", "a b")),
            ("POST", "Observation/_search", Err(Missed::Path)),
            ("GET", "Observation/o1/_history/1", Err(Missed::Path)),
            ("POST", "observation", Err(Missed::Path)),
            ("POST", "$nonsense", Err(Missed::Path)),
            ("PUT", "Observation/", Err(Missed::Path)),
            ("GET", "../metadata", Err(Missed::Path)),
        ] {
            assert_eq!(find(method, path), expected, "{method} {path}");
        }
    }
}
