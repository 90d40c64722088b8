//! Several docker configs become one: later ones win, and none hides what another has. All of it is pure.

use std::collections::BTreeMap;

use super::docker_config::{Document, Registry};

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
    let names: Vec<String> = sources.iter().map(|(name, _)| name.clone()).collect();
    let name = |at: usize| names.get(at).map(String::as_str).unwrap_or_default();
    let mut merged = Merged::default();
    // With the index of the source.
    let mut auths = BTreeMap::new();
    let mut helpers = BTreeMap::new();
    let mut store = None;
    for (at, (name, document)) in sources.into_iter().enumerate() {
        let odd = document.odd.iter().map(|member| format!("{member} of {name} is left out: it is not text"));
        merged.left_out.extend(odd);
        auths.extend(document.auths.into_iter().map(|(registry, entry)| (registry, (at, entry))));
        merged.config.headers.extend(document.headers);
        helpers.extend(document.helpers.into_iter().map(|(registry, helper)| (registry, (at, helper))));
        if !document.store.is_empty() {
            store = Some((at, document.store));
        }
    }
    let credentials = || auths.iter().filter(|(_, (_, entry))| entry.is_credential());
    let mut latest: BTreeMap<&str, usize> = BTreeMap::new();
    for (registry, (at, _)) in credentials() {
        let latest = latest.entry(host(registry)).or_insert(*at);
        *latest = (*latest).max(*at);
    }
    if let Some((at, helper)) = store {
        match credentials().find(|(_, (other, _))| *other != at) {
            None => merged.config.store = helper,
            Some((registry, _)) => merged.left_out.push(format!(
                "credsStore {helper} of {} is left out: docker would ask it for {} too, for which another secret has a \
                 credential; name the helper's registries in credHelpers",
                name(at),
                Registry::new(registry)
            )),
        }
    }
    for (registry, (at, helper)) in helpers {
        if latest.get(host(&registry)).is_some_and(|latest| *latest > at) {
            merged.left_out.push(format!(
                "the helper {helper} of {} for {} is left out: a later secret has a credential for this registry",
                name(at),
                Registry::new(&registry)
            ));
        } else {
            merged.config.helpers.insert(registry, helper);
        }
    }
    merged.config.auths = auths.into_iter().map(|(registry, (_, entry))| (registry, entry)).collect();
    merged
}

/// The host of a registry's name, as docker compares them.
/// <https://github.com/docker/cli/blob/master/cli/config/credentials/file_store.go>
fn host(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
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
