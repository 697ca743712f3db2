//! One JSON document and no more, without a key that stands twice.
//!
//! Both are needed beside the models: the model library stops reading at the closing brace, and of two
//! equal keys it silently keeps the last.

use crate::CheckError;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;

const DUPLICATE_KEY: &str = "duplicate key";

/// Parses the text. Errors: syntax, trailing bytes, a duplicate key, nesting deeper than 128.
pub(crate) fn one_document(json: &[u8]) -> Result<Value, CheckError> {
    let syntax = |error: &serde_json::Error| CheckError::Syntax {
        line: error.line(),
        column: error.column(),
        reason: match error.classify() {
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Data if error.to_string().starts_with(DUPLICATE_KEY) => {
                "a key stands twice"
            }
            _ => "syntax error or bytes after the resource",
        },
    };
    serde_json::from_slice::<UniqueKeys>(json).map_err(|e| syntax(&e))?;
    serde_json::from_slice(json).map_err(|e| syntax(&e))
}

/// Did the model understand what was written? The order of keys and the case of an exponent are free.
pub(crate) fn same(path: &str, written: &Value, understood: &Value) -> Result<(), CheckError> {
    let differs = |reason| Err(CheckError::Content { path: path.to_owned(), reason });
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => {
            for (key, value) in written {
                let path = format!("{path}.{key}");
                match understood.get(key) {
                    Some(other) => same(&path, value, other)?,
                    None => {
                        return Err(CheckError::Content { path, reason: "the model does not keep it" });
                    }
                }
            }
            if understood.len() == written.len() { Ok(()) } else { differs("the model adds to it") }
        }
        (Value::Array(written), Value::Array(understood)) if written.len() == understood.len() => {
            for (i, (value, other)) in written.iter().zip(understood).enumerate() {
                same(&format!("{path}[{i}]"), value, other)?;
            }
            Ok(())
        }
        (Value::Array(_), _) => differs("a list where the release has one element"),
        (_, Value::Array(_)) => differs("one element where the release has a list"),
        (Value::Number(a), Value::Number(b)) if a.to_string().eq_ignore_ascii_case(&b.to_string()) => Ok(()),
        (a, b) if a == b => Ok(()),
        _ => differs("the model understands something else"),
    }
}

/// Reads anything and keeps nothing; fails on a duplicate key.
struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = UniqueKeys;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_bool<E>(self, _: bool) -> Result<UniqueKeys, E> {
                Ok(UniqueKeys)
            }
            fn visit_i64<E>(self, _: i64) -> Result<UniqueKeys, E> {
                Ok(UniqueKeys)
            }
            fn visit_u64<E>(self, _: u64) -> Result<UniqueKeys, E> {
                Ok(UniqueKeys)
            }
            fn visit_f64<E>(self, _: f64) -> Result<UniqueKeys, E> {
                Ok(UniqueKeys)
            }
            fn visit_str<E>(self, _: &str) -> Result<UniqueKeys, E> {
                Ok(UniqueKeys)
            }
            fn visit_unit<E>(self) -> Result<UniqueKeys, E> {
                Ok(UniqueKeys)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<UniqueKeys, A::Error> {
                while items.next_element::<UniqueKeys>()?.is_some() {}
                Ok(UniqueKeys)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<UniqueKeys, A::Error> {
                let mut seen = HashSet::new();
                while let Some(key) = entries.next_key::<String>()? {
                    if !seen.insert(key) {
                        return Err(serde::de::Error::custom(DUPLICATE_KEY));
                    }
                    entries.next_value::<UniqueKeys>()?;
                }
                Ok(UniqueKeys)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
