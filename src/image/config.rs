//! An image's config document, and what a step runs by it.

use serde::{Deserialize, Deserializer, Serialize};

use super::{JsonError, Platform};

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

/// An image that does not say what to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the image has neither ENTRYPOINT nor CMD, so there is nothing to run: give the step a command, as in \
     `command: [\"/path/in/the/image\"]`"
)]
pub struct NoCommand;

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    config: Option<RawRun>,
}

#[derive(Deserialize, Default)]
struct RawRun {
    #[serde(rename = "Entrypoint", default, deserialize_with = "words")]
    entrypoint: Vec<String>,
    #[serde(rename = "Cmd", default, deserialize_with = "words")]
    cmd: Vec<String>,
}

/// A list of words, null for none, or one word without a list, as old images have it and Docker reads it.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a list of strings, a string or null")]
    enum Words {
        Many(Vec<String>),
        One(String),
        None,
    }
    Ok(match Words::deserialize(deserializer)? {
        Words::Many(words) => words,
        Words::One(word) => vec![word],
        Words::None => Vec::new(),
    })
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
        let run = raw.config.unwrap_or_default();
        let named = |name: Option<String>| name.filter(|name| !name.is_empty());
        let platform = match (named(raw.os), named(raw.architecture)) {
            (Some(os), Some(architecture)) => Some(Platform { os, architecture, variant: named(raw.variant) }),
            (Some(_), None) | (None, Some(_)) | (None, None) => None,
        };
        Ok(Self { entrypoint: run.entrypoint, cmd: run.cmd, platform })
    }

    /// What a step runs: ENTRYPOINT, with CMD behind it only when the step has no arguments of its own; CMD when there is
    /// no ENTRYPOINT, even if the step has arguments, which its caller appends. This is the rule of Tekton's controller
    /// (`imageInfo` in `pkg/pod/entrypoint_lookup_impl.go`), and not Docker's.
    ///
    /// # Errors
    ///
    /// [`NoCommand`], when there is neither.
    pub fn command(&self, has_args: bool) -> Result<Vec<String>, NoCommand> {
        match (self.entrypoint.is_empty(), self.cmd.is_empty()) {
            (true, true) => Err(NoCommand),
            (true, false) => Ok(self.cmd.clone()),
            (false, _) if has_args => Ok(self.entrypoint.clone()),
            (false, _) => Ok(self.entrypoint.iter().chain(&self.cmd).cloned().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> ImageConfig {
        ImageConfig::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn the_command_follows_tektons_rule() {
        let both = config(r#"{"config":{"Entrypoint":["/e","-x"],"Cmd":["c"]}}"#);
        let entrypoint = config(r#"{"config":{"Entrypoint":["/e"],"Cmd":null}}"#);
        let cmd = config(r#"{"config":{"Cmd":["sh"]}}"#);
        let neither = config(r#"{"config":{"Entrypoint":[],"Cmd":[]}}"#);
        for (config, has_args, command) in [
            (&both, false, Ok(vec!["/e", "-x", "c"])),
            (&both, true, Ok(vec!["/e", "-x"])),
            (&entrypoint, false, Ok(vec!["/e"])),
            (&entrypoint, true, Ok(vec!["/e"])),
            (&cmd, false, Ok(vec!["sh"])),
            (&cmd, true, Ok(vec!["sh"])),
            (&neither, false, Err(NoCommand)),
            (&neither, true, Err(NoCommand)),
        ] {
            let command = command.map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(config.command(has_args), command, "{config:?} {has_args}");
        }
    }

    #[test]
    fn an_image_without_a_command_gets_the_line_to_add() {
        let message = NoCommand.to_string();
        assert!(message.contains("neither ENTRYPOINT nor CMD") && message.contains("command: ["), "{message}");
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
            (r#"{"config":{"Cmd":[7]}}"#, "is not a config document"),
            (r#"{"config":{"Cmd":{}}}"#, "is not a config document"),
            (r#"{"os":[]}"#, "is not a config document"),
        ] {
            let error = ImageConfig::parse(text.as_bytes()).expect_err("no config").to_string();
            assert_eq!(error, format!("the image's config {sentence}"), "{text}");
        }
    }
}
