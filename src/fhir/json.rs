//! Reading JSON with the limits of a hospital interface: UTF-8 throughout, bounded depth, and an
//! error that names the element but never repeats what it held.

use serde::Deserialize;

/// Deepest nesting that is read (`reliability`: JSON depth 64).
pub const MAX_DEPTH: usize = 64;

/// Why a text could not be read. `path` is a FHIRPath-like location below the resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("not UTF-8 at byte {at}")]
    Encoding { at: usize },
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("duplicate key at {path}")]
    DuplicateKey { path: String },
    #[error("not JSON at line {line}, column {column}")]
    Syntax { line: usize, column: usize },
    #[error("{path} has not the type that FHIR gives it")]
    Structure { path: String },
}

impl JsonError {
    /// The reason code, as in gaps and quarantine.
    pub fn code(&self) -> &'static str {
        match self {
            JsonError::Encoding { .. } => "encoding",
            JsonError::TooDeep => "too-deep",
            JsonError::DuplicateKey { .. } => "duplicate-key",
            JsonError::Syntax { .. } => "not-json",
            JsonError::Structure { .. } => "structure",
        }
    }
}

/// Strips a byte order mark (tolerated: Windows tools write it) and checks UTF-8 as a whole, since
/// the JSON reader does not look into what it skips.
pub fn text(bytes: &[u8]) -> Result<&str, JsonError> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|e| JsonError::Encoding { at: e.valid_up_to() })
}

/// Is the text nested deeper than [`MAX_DEPTH`]? Brackets inside strings do not count.
pub fn too_deep(text: &str) -> bool {
    let bytes = text.as_bytes();
    // No document is deeper than it has opening brackets: most need only this count.
    // `[` and `{` differ in one bit; counting in bytes lets the compiler take many at a time.
    let opening = |chunk: &[u8]| usize::from(chunk.iter().map(|b| u8::from(b | 0x20 == b'{')).sum::<u8>());
    if bytes.chunks(255).map(opening).sum::<usize>() <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut at) = (0usize, 0usize);
    while let Some(b) = bytes.get(at) {
        match b {
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                // Jump over the string. One that does not end holds all the rest, brackets and all.
                at += 1;
                loop {
                    let Some(rest) = bytes.get(at..) else { return false };
                    let Some(offset) = memchr::memchr2(b'"', b'\\', rest) else { return false };
                    at += offset;
                    if bytes[at] == b'"' {
                        break;
                    }
                    at += 2;
                }
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// Reads a projection of `text`; on failure reads again to say where.
pub fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, JsonError> {
    if too_deep(text) {
        return Err(JsonError::TooDeep);
    }
    read_shallow(text)
}

/// As [`read`], for a text whose depth has been checked.
pub fn read_shallow<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, JsonError> {
    serde_json::from_str(text).map_err(|_| locate::<T>(text))
}

#[cold]
fn locate<'a, T: Deserialize<'a>>(text: &'a str) -> JsonError {
    let mut reader = serde_json::Deserializer::from_str(text);
    let result: Result<T, _> = serde_path_to_error::deserialize(&mut reader);
    match result {
        Err(error) => {
            let path = error.path().to_string();
            let inner = error.inner();
            if inner.is_data() {
                // serde names the field that stands twice; nothing else of the message is shown.
                if let Some(field) = inner.to_string().strip_prefix("duplicate field `") {
                    let field = field.split('`').next().unwrap_or_default();
                    let path = match path.as_str() {
                        "." => field.to_owned(),
                        within if within.rsplit('.').next() == Some(field) => path,
                        within => format!("{within}.{field}"),
                    };
                    return JsonError::DuplicateKey { path };
                }
                if inner.to_string().starts_with("duplicate field") {
                    return JsonError::DuplicateKey { path };
                }
                return JsonError::Structure { path };
            }
            JsonError::Syntax { line: inner.line(), column: inner.column() }
        }
        Ok(_) => match reader.end() {
            Err(e) => JsonError::Syntax { line: e.line(), column: e.column() },
            Ok(()) => JsonError::Structure { path: String::new() },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_strings() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(!too_deep(&nested(64)));
        assert!(too_deep(&nested(65)));
        assert!(too_deep(&"[".repeat(1_000_000)));
        let quoted = format!("{{\"a\":\"{}\"}}", "[".repeat(500));
        assert!(!too_deep(&quoted));
        let escaped = format!("{{\"a\":\"\\\"{}\"}}", "{".repeat(500));
        assert!(!too_deep(&escaped));
        let unterminated = format!("{}\"\\", "[1],".repeat(70));
        assert!(!too_deep(&unterminated));
        let open = format!("{{\"a\":\"{}", "[".repeat(500));
        assert!(!too_deep(&open), "not JSON, and that is what is said of it");
    }

    #[test]
    fn errors_say_where_and_never_what() {
        #[derive(Deserialize, Debug)]
        #[allow(dead_code)]
        struct Inner {
            value: u8,
        }
        #[derive(Deserialize, Debug)]
        #[allow(dead_code)]
        struct Outer {
            inner: Vec<Inner>,
        }
        let error = |text: &str| read::<Outer>(text).map(|_| ()).unwrap_err();
        assert_eq!(
            error(r#"{"inner":[{"value":1},{"value":"Zhang"}]}"#),
            JsonError::Structure { path: "inner[1].value".into() }
        );
        let twice = |path: &str| JsonError::DuplicateKey { path: path.into() };
        assert_eq!(error(r#"{"inner":[{"value":1,"value":2}]}"#), twice("inner[0].value"));
        assert_eq!(error(r#"{"inner":[],"inner":[]}"#), twice("inner"));
        assert!(matches!(error(r#"{"inner":[]"#), JsonError::Syntax { .. }));
        assert!(matches!(error(r#"{"inner":[]} x"#), JsonError::Syntax { .. }));
        assert_eq!(text(b"\xEF\xBB\xBF{}"), Ok("{}"));
        assert_eq!(text(b"{\"a\":\"\xff\"}"), Err(JsonError::Encoding { at: 6 }));
    }
}
