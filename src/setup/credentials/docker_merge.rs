//! Several docker configs become one: later ones win, and none hides what another has. All of it is pure.

use std::collections::BTreeMap;

use super::docker_config::{Document, Entry, Registry, Text};

/// The one config, and what it could not have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    pub(super) config: Document,
    /// Sentences for people.
    pub(super) left_out: Vec<String>,
}

/// Merges configs, each with the name of where it is from, in their order. Of one registry the last entry counts, whole;
/// of one header and of one registry's helper the last as well.
///
/// Docker asks a helper instead of looking into `auths`. So a helper is left out where a later config has a credential
/// for its registry, and a helper for all registries where another config has a credential for any.
pub(super) fn merge(sources: Vec<(String, Document)>) -> Merged {
    let mut names = Vec::new();
    let mut merged = Merged::default();
    let mut store = None;
    let config = &mut merged.config;
    for (from, (name, document)) in sources.into_iter().enumerate() {
        for member in document.odd {
            merged.left_out.push(format!("{member} of {name} is left out: it is not text"));
        }
        for (registry, entry) in document.auths {
            config.auths.insert(registry, Entry { from, ..entry });
        }
        for (header, value) in document.headers {
            config.headers.insert(header, Text { from, ..value });
        }
        for (registry, helper) in document.helpers {
            config.helpers.insert(registry, Text { from, ..helper });
        }
        if !document.store.is_empty() {
            store = Some((from, document.store));
        }
        names.push(name);
    }
    let name = |from: usize| names.get(from).map(String::as_str).unwrap_or_default();
    if let Some((from, helper)) = store {
        match config.auths.iter().find(|(_, entry)| entry.from != from && entry.is_credential()) {
            None => config.store = helper,
            Some((registry, _)) => merged.left_out.push(format!(
                "credsStore {helper} of {} is left out: docker would ask it for {} too, for which another secret has a \
                 credential; name the helper's registries in credHelpers",
                name(from),
                Registry::new(registry)
            )),
        }
    }
    for (registry, helper) in std::mem::take(&mut config.helpers) {
        let mut entries = for_host(&config.auths, host(&registry));
        if entries.any(|entry| entry.from > helper.from && entry.is_credential()) {
            merged.left_out.push(format!(
                "the helper {} of {} for {} is left out: a later secret has a credential for this registry",
                helper.text,
                name(helper.from),
                Registry::new(&registry)
            ));
        } else {
            drop(entries);
            config.helpers.insert(registry, helper);
        }
    }
    merged
}

/// The entries for a host, however it is written.
fn for_host<'a>(auths: &'a BTreeMap<String, Entry>, host: &str) -> impl Iterator<Item = &'a Entry> {
    SCHEMES.into_iter().flat_map(move |scheme| {
        let alone = format!("{scheme}{host}");
        let start = format!("{alone}/");
        let with_path = auths.range(start.clone()..).take_while(move |(key, _)| key.starts_with(&start));
        auths.get(&alone).into_iter().chain(with_path.map(|(_, entry)| entry))
    })
}

/// What may stand in front of a host.
const SCHEMES: [&str; 3] = ["https://", "http://", ""];

/// The host of a registry's name, as docker compares them.
/// <https://github.com/docker/cli/blob/master/cli/config/credentials/file_store.go>
fn host(key: &str) -> &str {
    let key = SCHEMES.into_iter().find_map(|scheme| key.strip_prefix(scheme)).unwrap_or(key);
    key.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::docker_config::Form;
    use super::*;

    /// The merged config and what was left out, of configs that are called `1`, `2`, and so on.
    fn merged(configs: &[&str]) -> (String, Vec<String>) {
        let parsed = configs.iter().map(|json| Document::parse(json.as_bytes(), Form::Config).unwrap());
        let merged = merge((1..).map(|number: i32| number.to_string()).zip(parsed).collect());
        (merged.config.json().unwrap(), merged.left_out)
    }

    #[test]
    fn of_one_registry_the_last_entry_counts_whole() {
        let (json, left_out) = merged(&[
            r#"{"auths":{"x":{"username":"1","identitytoken":"t"},"y":{"auth":"1"}}}"#,
            r#"{"auths":{"x":{"auth":"2"},"z":{"auth":"2"}}}"#,
        ]);
        assert_eq!(json, r#"{"auths":{"x":{"auth":"2"},"y":{"auth":"1"},"z":{"auth":"2"}}}"#);
        assert_eq!(left_out, [""; 0]);
    }

    #[test]
    fn of_one_header_and_one_helper_the_last_counts() {
        let (json, left_out) = merged(&[
            r#"{"HttpHeaders":{"A":"1","B":"1"},"credHelpers":{"x":"1","y":"1"},"credsStore":"1"}"#,
            r#"{"HttpHeaders":{"B":"2"},"credHelpers":{"y":"2"},"credsStore":"2"}"#,
            "{}",
        ]);
        assert_eq!(
            json,
            r#"{"auths":{},"HttpHeaders":{"A":"1","B":"2"},"credsStore":"2","credHelpers":{"x":"1","y":"2"}}"#
        );
        assert_eq!(left_out, [""; 0]);
    }

    #[test]
    fn one_config_stays_whole() {
        let config = r#"{"auths":{"x":{"auth":"1"}},"credsStore":"s","credHelpers":{"x":"h"}}"#;
        assert_eq!(merged(&[config]), (config.to_owned(), Vec::new()));
    }

    #[test]
    fn a_store_does_not_hide_the_credential_of_another_secret() {
        let (json, left_out) = merged(&[r#"{"auths":{"x":{"auth":"1"}}}"#, r#"{"credsStore":"ecr-login"}"#]);
        assert_eq!(json, r#"{"auths":{"x":{"auth":"1"}}}"#);
        assert_eq!(
            left_out,
            ["credsStore ecr-login of 2 is left out: docker would ask it for x too, for which another secret has a \
              credential; name the helper's registries in credHelpers"]
        );
        // An entry without a credential is what a store leaves behind.
        let (json, left_out) = merged(&[r#"{"auths":{"x":{"email":"e"}}}"#, r#"{"credsStore":"s"}"#]);
        assert_eq!((json.as_str(), left_out.len()), (r#"{"auths":{"x":{"auth":"","email":"e"}},"credsStore":"s"}"#, 0));
    }

    #[test]
    fn a_helper_does_not_hide_the_credential_of_a_later_secret() {
        let helper = r#"{"credHelpers":{"x":"h","y":"h"}}"#;
        let entry = r#"{"auths":{"https://x/v1/":{"identitytoken":"t"}}}"#;
        let (json, left_out) = merged(&[helper, entry]);
        assert_eq!(json, r#"{"auths":{"https://x/v1/":{"auth":"","identitytoken":"t"}},"credHelpers":{"y":"h"}}"#);
        assert_eq!(
            left_out,
            ["the helper h of 1 for x is left out: a later secret has a credential for this registry"]
        );
        for other in ["x.io", "https://y", "http://x/v1"] {
            let entry = format!(r#"{{"auths":{{"{other}":{{"auth":"1"}}}}}}"#);
            let (_, left_out) = merged(&[r#"{"credHelpers":{"x":"h"}}"#, &entry]);
            assert_eq!(left_out.len(), usize::from(other == "http://x/v1"), "{other}");
        }
        let (json, left_out) = merged(&[entry, helper]);
        assert!(json.ends_with(r#""credHelpers":{"x":"h","y":"h"}}"#), "{json}");
        assert_eq!(left_out, [""; 0]);
    }

    #[test]
    fn what_is_no_text_is_left_out_with_a_word() {
        let (_, left_out) = merged(&[r#"{"auths":{"x":{"registrytoken":1}}}"#]);
        assert_eq!(left_out, ["registrytoken of 1 is left out: it is not text"]);
    }
}
