//! An image's config document, and what a step runs by it.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{JsonError, Object, Platform};

/// The longest ENTRYPOINT or CMD, in bytes: more could not be handed to the step.
const LIMIT: usize = 1 << 20;

/// What a config document says about running the image.
/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md>
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `config.Entrypoint`; empty when absent.
    pub entrypoint: Vec<String>,
    /// `config.Cmd`; empty when absent.
    pub cmd: Vec<String>,
    /// `os`, `architecture` and `variant`, when the first two are there.
    pub platform: Option<Platform>,
}

/// Why a document is no image config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON, or no object.
    #[error("the image's config is not a JSON object")]
    NotAnObject,
    /// JSON of another shape.
    #[error("the image's config is not a config document")]
    Malformed {
        /// Why.
        source: JsonError,
    },
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    config: Option<Object<RawRun>>,
}

#[derive(Deserialize, Default)]
struct RawRun {
    #[serde(rename = "Entrypoint", default, deserialize_with = "words")]
    entrypoint: Vec<String>,
    #[serde(rename = "Cmd", default, deserialize_with = "words")]
    cmd: Vec<String>,
}

/// A list of words, null for none, or one word without a list, as old images have it and Docker reads it.
pub(crate) fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(Words)
}

/// Takes each word as it comes, up to [`LIMIT`]: a small document can hold very many empty ones.
struct Words;

impl<'de> Visitor<'de> for Words {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings, a string or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_str<E>(self, word: &str) -> Result<Self::Value, E> {
        Ok(vec![word.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut words, mut size) = (Vec::new(), 0);
        while let Some(word) = list.next_element::<String>()? {
            // As the kernel counts arguments: the bytes and a pointer.
            size += word.len() + size_of::<usize>();
            if size > LIMIT {
                return Err(A::Error::custom(format_args!("a command of more than {LIMIT} bytes")));
            }
            words.push(word);
        }
        Ok(words)
    }
}

impl ImageConfig {
    /// Reads a config document.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], when it is none.
    pub fn parse(document: &[u8]) -> Result<Self, ConfigError> {
        // serde would take a list for an object, its elements for the fields in order.
        if !document.trim_ascii_start().starts_with(b"{") {
            return Err(ConfigError::NotAnObject);
        }
        let raw: RawConfig =
            serde_json::from_slice(document).map_err(|error| ConfigError::Malformed { source: error.into() })?;
        let run = raw.config.map(|Object(run)| run).unwrap_or_default();
        // With a slash in it a part would be read as two.
        let named = |name: Option<String>| name.filter(|name| !name.is_empty() && !name.contains('/'));
        let platform = match (named(raw.os), named(raw.architecture)) {
            (Some(os), Some(architecture)) => Some(Platform { os, architecture, variant: named(raw.variant) }),
            (Some(_), None) | (None, Some(_)) | (None, None) => None,
        };
        Ok(Self { entrypoint: run.entrypoint, cmd: run.cmd, platform })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> ImageConfig {
        ImageConfig::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn absent_and_null_are_empty_and_one_word_is_a_list() {
        for text in ["{}", r#"{"config":null}"#, r#"{"config":{}}"#, r#"{"config":{"Entrypoint":null,"Cmd":null}}"#] {
            assert_eq!(config(text), ImageConfig::default());
        }
        assert_eq!(config(r#"{"config":{"Cmd":"sh"}}"#).cmd, ["sh"]);
    }

    #[test]
    fn the_platform_needs_os_and_architecture() {
        let shown = |text: &str| config(text).platform.map(|platform| platform.to_string());
        assert_eq!(shown(r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#).as_deref(), Some("linux/arm64/v8"));
        assert_eq!(shown(r#"{"os":"linux","architecture":"amd64","variant":""}"#).as_deref(), Some("linux/amd64"));
        assert_eq!(shown(r#"{"os":"linux"}"#), None);
    }

    #[test]
    fn a_platform_whose_parts_are_read_as_others_is_none() {
        for (text, platform) in [
            (r#"{"os":"linux/arm","architecture":"v7"}"#, None),
            (r#"{"os":"linux","architecture":"arm/v7"}"#, None),
            (r#"{"os":"linux","architecture":"arm","variant":"v7/x"}"#, Some("linux/arm")),
        ] {
            let found = config(text).platform.map(|platform| platform.to_string());
            assert_eq!(found.as_deref(), platform, "{text}");
        }
    }

    #[test]
    fn a_command_that_no_kernel_would_take_is_not_kept_in_memory() {
        let error = |words: usize| {
            let text = format!(r#"{{"config":{{"Cmd":[{}""]}}}}"#, r#""","#.repeat(words - 1));
            ImageConfig::parse(text.as_bytes()).map_err(|error| crate::sys::cause::chain(&error))
        };
        assert_eq!(error(LIMIT / 8).map(|config| config.cmd.len()), Ok(LIMIT / 8));
        let sentence = error(LIMIT / 8 + 1).expect_err("no config");
        assert!(
            sentence.starts_with("the image's config is not a config document: a command of more than 1048576 bytes"),
            "{sentence}"
        );
    }

    #[test]
    fn hostile_documents_are_errors() {
        let nested = format!(r#"{{"config":{{"Cmd":{}"#, "[".repeat(100_000));
        for (text, sentence) in [
            (nested.as_str(), "is not a config document"),
            ("", "is not a JSON object"),
            ("<html>", "is not a JSON object"),
            ("[]", "is not a JSON object"),
            ("7", "is not a JSON object"),
            ("{", "is not a config document"),
            (r#"{"config":7}"#, "is not a config document"),
            (r#"{"config":["/bin/sh"]}"#, "is not a config document"),
            (r#"{"config":{"Cmd":[7]}}"#, "is not a config document"),
            (r#"{"config":{"Cmd":{}}}"#, "is not a config document"),
            (r#"{"os":[]}"#, "is not a config document"),
        ] {
            let error = ImageConfig::parse(text.as_bytes()).expect_err("no config").to_string();
            assert_eq!(error, format!("the image's config {sentence}"), "{text}");
        }
    }
}
