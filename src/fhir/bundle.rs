//! A Bundle, split into its entries before any of them is read, so that one broken entry is one
//! gap and the rest is used.

use super::json::{JsonError, read_shallow};
use super::text::Text;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

#[derive(Deserialize, Debug)]
pub struct Bundle<'a> {
    /// Looked at before; here so that a second one is a duplicate key.
    #[serde(rename = "resourceType")]
    pub resource_type: Option<IgnoredAny>,
    #[serde(borrow, rename = "type")]
    pub bundle_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub entry: Vec<&'a RawValue>,
}

/// One entry; `resource` is still unread.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Entry<'a> {
    #[serde(borrow)]
    pub full_url: Option<Text<'a>>,
    #[serde(borrow)]
    pub resource: Option<&'a RawValue>,
    #[serde(borrow)]
    pub search: Option<Search<'a>>,
    #[serde(borrow)]
    pub request: Option<Request<'a>>,
}

#[derive(Deserialize, Debug)]
pub struct Search<'a> {
    #[serde(borrow)]
    pub mode: Option<Text<'a>>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    #[serde(borrow)]
    pub method: Option<Text<'a>>,
    #[serde(borrow)]
    pub url: Option<Text<'a>>,
    #[serde(borrow)]
    pub if_none_exist: Option<Text<'a>>,
}

/// A resource of a Bundle, or the reason why the entry has none.
#[derive(Debug)]
pub struct Piece<'a> {
    /// `Bundle.entry[3]`.
    pub path: String,
    pub full_url: Option<Text<'a>>,
    /// What a batch or transaction asks for.
    pub request: Option<Request<'a>>,
    pub content: Result<Content<'a>, JsonError>,
}

#[derive(Debug)]
pub enum Content<'a> {
    Resource(&'a str),
    /// `request.method` DELETE: `Type/id`.
    Deletion(Text<'a>),
    /// An outcome about the search itself, or an entry without a resource.
    Nothing,
}

/// Splits a Bundle whose text has been checked for depth.
pub fn split(text: &str) -> Result<Vec<Piece<'_>>, JsonError> {
    split_typed(text).map(|(_, pieces)| pieces)
}

/// As [`split`], with `Bundle.type`.
pub fn split_typed(text: &str) -> Result<(Option<Text<'_>>, Vec<Piece<'_>>), JsonError> {
    let bundle: Bundle<'_> = read_shallow(text)?;
    let pieces = bundle
        .entry
        .iter()
        .enumerate()
        .map(|(index, raw)| {
            let path = format!("Bundle.entry[{index}]");
            match read_shallow::<Entry<'_>>(raw.get()) {
                Ok(entry) => {
                    let is_outcome = entry.search.and_then(|s| s.mode).is_some_and(|m| &*m == "outcome");
                    let deleted = entry.request.as_ref().filter(|r| r.method.as_deref() == Some("DELETE"));
                    let content = match (entry.resource, deleted.and_then(|r| r.url.clone())) {
                        _ if is_outcome => Content::Nothing,
                        (Some(resource), _) => Content::Resource(resource.get()),
                        (None, Some(url)) => Content::Deletion(url),
                        (None, None) => Content::Nothing,
                    };
                    Piece { path, full_url: entry.full_url, request: entry.request, content: Ok(content) }
                }
                Err(error) => Piece { path, full_url: None, request: None, content: Err(error) },
            }
        })
        .collect();
    Ok((bundle.bundle_type, pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_entry_is_one_gap() {
        let text = r#"{"resourceType":"Bundle","type":"searchset","entry":[
            {"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","id":"p1"}},
            {"resource":{"resourceType":"Patient"},"resource":{}},
            17,
            {"search":{"mode":"outcome"},"resource":{"resourceType":"OperationOutcome"}},
            {"request":{"method":"DELETE","url":"Observation/o1"}}]}"#;
        let pieces = split(text).expect("a Bundle");
        assert_eq!(pieces.len(), 5);
        assert!(matches!(&pieces[0].content, Ok(Content::Resource(_))));
        assert!(matches!(&pieces[1].content, Err(JsonError::DuplicateKey { .. })));
        assert!(matches!(&pieces[2].content, Err(JsonError::Structure { .. })));
        assert!(matches!(&pieces[3].content, Ok(Content::Nothing)));
        assert!(matches!(&pieces[4].content, Ok(Content::Deletion(url)) if &**url == "Observation/o1"));
    }
}
