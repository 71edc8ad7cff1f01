use std::fmt;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

/// The least similarity at which a name counts as a misspelling of another (Jaro-Winkler, 0 to 1).
const NEAR_MISS: f64 = 0.8;

/// An error in a file that a user wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file, as the user named it.
    pub file: String,
    /// The line, counted from 1; `None` if the error has no position in the file.
    pub line: Option<usize>,
    /// What is wrong, and how to correct it.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.reason),
            None => write!(f, "{}: {}", self.file, self.reason),
        }
    }
}

/// The text of a TOML file and its name.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    file: &'a str,
    pub(crate) text: &'a str,
}

impl<'a> Source<'a> {
    /// The text of a file. `file` is its name, for messages only.
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text }
    }

    /// The file's name, for messages.
    pub fn name(&self) -> &'a str {
        self.file
    }

    /// Parses the file. With `#[serde(deny_unknown_fields)]` on every struct, an unknown key is an
    /// error that suggests the most similar known key, or lists the known keys if none is similar.
    ///
    /// # Errors
    /// When the text is not TOML, or does not fit `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(self.text).map_err(|error| self.explain(error))
    }

    /// An error about the value of a key, for rules that a type cannot express. `key` is its path,
    /// with indices for arrays of tables: `output.1.scale`. If the file does not have the key, the
    /// line is that of the innermost table on its path that the file has.
    pub fn error(&self, key: &str, reason: impl fmt::Display) -> ConfigError {
        ConfigError {
            file: self.file.to_owned(),
            line: self.line_of_key(key),
            reason: format!("`{key}`: {reason}"),
        }
    }

    /// The values under each of `roots`, as pairs of a dotted key and a value, sorted by key. A
    /// root is a table, or the path of a single key (`car.name`). Strings are quoted and escaped;
    /// numbers are written as floats. Comments, order and spacing of the file make no difference.
    /// Empty if the text is not TOML.
    pub fn flatten(&self, roots: &[&str]) -> Vec<(String, String)> {
        let Ok(table) = self.text.parse::<toml::Table>() else {
            return Vec::new();
        };
        let mut pairs = Vec::new();
        flatten("", &toml::Value::Table(table), &mut pairs);
        let selected = |key: &str| {
            roots.iter().any(|root| {
                key.strip_prefix(root)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        pairs.retain(|(key, _)| selected(key));
        pairs.sort();
        pairs
    }

    fn explain(&self, mut error: toml::de::Error) -> ConfigError {
        let line = error.span().map(|span| self.line_at(span.start));
        // Without its input, the error displays only its message and the key's path.
        error.set_input(None);
        let displayed = error.to_string();
        let path = displayed
            .lines()
            .find_map(|l| l.strip_prefix("in `")?.strip_suffix('`'));
        let message = error.message();
        let reason = match (misspelling(message), path) {
            (Some(misspelt), _) => misspelt,
            (None, Some(path)) => format!("`{path}`: {message}"),
            (None, None) => message.to_owned(),
        };
        ConfigError {
            file: self.file.to_owned(),
            line,
            reason: reason.replace('\n', " "),
        }
    }

    fn line_at(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|&&byte| byte == b'\n').count()
    }

    fn line_of_key(&self, key: &str) -> Option<usize> {
        let (root, _) = DeTable::parse_recoverable(self.text);
        let mut offset = None;
        let mut value = DeValue::Table(root.into_inner());
        let mut rest = Some(key);
        while let Some(path) = rest {
            let (part, after) = match path.split_once('.') {
                Some((part, after)) => (part, Some(after)),
                None => (path, None),
            };
            rest = after;
            let next = match &value {
                DeValue::Table(table) => {
                    // A quoted key may have dots itself.
                    let whole = table.get_key_value(path);
                    if whole.is_some() {
                        rest = None;
                    }
                    match whole.or_else(|| table.get_key_value(part)) {
                        Some((name, inner)) => (name.span().start, inner.get_ref().clone()),
                        None => break,
                    }
                }
                DeValue::Array(array) => {
                    match part.parse::<usize>().ok().and_then(|i| array.get(i)) {
                        Some(inner) => (inner.span().start, inner.get_ref().clone()),
                        None => break,
                    }
                }
                _ => break,
            };
            offset = Some(next.0);
            value = next.1;
        }
        offset.map(|offset| self.line_at(offset))
    }
}

fn flatten(prefix: &str, value: &toml::Value, pairs: &mut Vec<(String, String)>) {
    let below = |name: &str| match prefix {
        "" => name.to_owned(),
        _ => format!("{prefix}.{name}"),
    };
    match value {
        toml::Value::Table(table) => {
            for (name, inner) in table {
                flatten(&below(name), inner, pairs);
            }
        }
        toml::Value::Array(array) => {
            for (index, inner) in array.iter().enumerate() {
                flatten(&below(&index.to_string()), inner, pairs);
            }
        }
        // 1 and 1.0 are the same number.
        toml::Value::Integer(number) => {
            pairs.push((prefix.to_owned(), format!("{:?}", *number as f64)))
        }
        toml::Value::Float(number) => pairs.push((prefix.to_owned(), format!("{number:?}"))),
        toml::Value::String(text) => pairs.push((prefix.to_owned(), format!("{text:?}"))),
        toml::Value::Boolean(boolean) => pairs.push((prefix.to_owned(), boolean.to_string())),
        toml::Value::Datetime(datetime) => pairs.push((prefix.to_owned(), datetime.to_string())),
    }
}

/// The name in `known` that is most similar to the misspelt `found`, if it is similar enough.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&found, &name.to_lowercase()), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity >= NEAR_MISS)
        .map(|(_, name)| name)
}

/// What to do about the unknown name `found`: the most similar of the known names, or all of them if
/// none is similar. Completes a sentence such as "there is no circuit `simpel`: ".
pub fn suggest<'a>(
    found: &str,
    known: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
) -> String {
    let known = known.into_iter();
    match nearest(found, known.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("name one of {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// The message of a serde error about the value of an option: for an unknown variant with the most
/// similar one.
pub fn explain_variant(error: &dyn fmt::Display) -> String {
    let message = error.to_string();
    misspelling(&message).unwrap_or(message)
}

/// A shorter message for serde's "unknown field `x`, expected one of `a`, `b`" and "unknown variant
/// ...": with the most similar of the expected names, or all of them if none is similar.
fn misspelling(message: &str) -> Option<String> {
    let (kind, rest) = if let Some(rest) = message.strip_prefix("unknown field `") {
        ("key", rest)
    } else if let Some(rest) = message.strip_prefix("unknown variant `") {
        ("value", rest)
    } else {
        return None;
    };
    let (found, rest) = rest.split_once("`, ")?;
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    Some(match nearest(found, known.iter().copied()) {
        Some(name) => format!("unknown {kind} `{found}`: did you mean `{name}`?"),
        None if known.is_empty() => format!("unknown {kind} `{found}`: none belongs here"),
        None => {
            let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            format!(
                "unknown {kind} `{found}`: there is {} here",
                known.join(", ")
            )
        }
    })
}

#[cfg(test)]
mod tests;
