//! Who names which pull secrets, read one call after the other, and what a refused call means for the person who reads
//! of it.

use std::fmt;

use k8s_openapi::api::core::v1::Secret as ApiSecret;

use super::api::{Api, CallError};
use super::identity::{Name, ServiceAccount};
use super::in_cluster::InCluster;
use super::own::{self, PodUnread};
use super::pod::PodStatus;
use super::{PullSecrets, Read};
use crate::credential::{NamedBy, Note, PullSecret, PullSecretDocument, PullSecretName, UnusablePullSecret};
use crate::secret::Secret;
use crate::sys::cause::chain;

/// One reading of a pod's pull secrets.
pub(super) struct Reader<'a> {
    api: &'a Api,
    cluster: &'a InCluster,
    found: PullSecrets,
    /// What the API server was not asked for, because it went away. While it is there, `None`.
    unasked: Option<Vec<String>>,
}

/// What a call is for.
enum Object<'a> {
    Pod { namespace: &'a Name, name: &'a Name },
    Account(&'a ServiceAccount),
    Secret(&'a PullSecretName),
}

/// A pull secret that is to be read.
struct Named {
    source: PullSecretName,
    namespace: Name,
    name: Name,
}

impl<'a> Reader<'a> {
    pub(super) fn new(api: &'a Api, cluster: &'a InCluster) -> Self {
        let found = PullSecrets { secrets: Vec::new(), notes: Vec::new(), complete: true };
        Self { api, cluster, found, unasked: None }
    }

    /// Reads both lists and then, in the order of who names them, the secrets. The pod, which has one of the lists, is
    /// read once for that and for what it says of its containers.
    pub(super) async fn read(mut self, flag: &[String]) -> Read {
        let mut named = Vec::new();
        let pod = self.pod(&mut named).await;
        let account = &self.cluster.account;
        self.add(&mut named, &account.namespace, NamedBy::Flag, NamedBy::Flag.to_string(), flag);
        self.account(&mut named).await;
        for secret in named {
            let call = self.api.secret(&secret.namespace, &secret.name);
            if let Some(answer) = self.ask(Object::Secret(&secret.source), call).await {
                self.found.secrets.push(PullSecret { name: secret.source, document: document(answer) });
            }
        }
        if let Some(unasked) = self.unasked.filter(|unasked| !unasked.is_empty()) {
            let outcome = format!("not asked any more for {}", unasked.join(", "));
            self.found.notes.push(Note::new(format!("API server {}", self.cluster.server), outcome));
        }
        Read { pull_secrets: self.found, pod }
    }

    /// Adds what the pod names. The rest of it is returned.
    async fn pod(&mut self, named: &mut Vec<Named>) -> Result<PodStatus, PodUnread> {
        let (bearer, bound) = match own::bound(self.cluster) {
            Ok(found) => found,
            Err(unread) => {
                self.found.notes.push(Note::new("pod", unread.reason.as_str()));
                return Err(unread);
            }
        };
        let namespace = &bearer.account.namespace;
        let object = Object::Pod { namespace, name: &bound.name };
        let source = object.to_string();
        // The first call: the API server cannot be gone already.
        let pod = match self.api.pod(namespace, &bound.name).await {
            Ok(pod) => pod,
            Err(error) => {
                self.refuse(&object, &error);
                return Err(PodUnread::of_call(&error, self.cluster, &source));
            }
        };
        match own::checked(pod, bound) {
            Ok((names, status)) => {
                self.add_listed(named, namespace, NamedBy::Pod, source, &names);
                Ok(status)
            }
            Err(unread) => {
                self.found.notes.push(Note::new(source, unread.reason.as_str()));
                Err(unread)
            }
        }
    }

    /// Adds what the service account names.
    async fn account(&mut self, named: &mut Vec<Named>) {
        let account = &self.cluster.account;
        let call = self.api.account_pull_secrets(account);
        if let Some(names) = self.ask(Object::Account(account), call).await {
            self.add_listed(named, &account.namespace, NamedBy::ServiceAccount, account.to_string(), &names);
        }
    }

    /// Adds the names of an object's `imagePullSecrets`, or notes that there are none.
    fn add_listed(&mut self, named: &mut Vec<Named>, namespace: &Name, by: NamedBy, source: String, names: &[String]) {
        // Kubernetes allows an empty name, which names nothing.
        let names: Vec<_> = names.iter().filter(|name| !name.is_empty()).cloned().collect();
        if names.is_empty() {
            self.found.notes.push(Note::new(source, "names no imagePullSecrets"));
        } else {
            self.add(named, namespace, by, source, &names);
        }
    }

    /// Adds pull secrets; one that is named already has one more who names it. A name that cannot be one is a note.
    fn add(&mut self, named: &mut Vec<Named>, namespace: &Name, by: NamedBy, source: String, names: &[String]) {
        for text in names {
            let name = match Name::parse(text, "secret") {
                Ok(name) => name,
                Err(error) => {
                    self.found.notes.push(Note::failed(source.as_str(), &error));
                    continue;
                }
            };
            if let Some(earlier) = named.iter_mut().find(|other| other.name == name && other.namespace == *namespace) {
                let source = &mut earlier.source;
                if source.named_by != by && !source.also_by.contains(&by) {
                    source.also_by.push(by);
                }
                continue;
            }
            let source = PullSecretName {
                namespace: namespace.as_str().to_owned(),
                name: text.clone(),
                named_by: by,
                also_by: Vec::new(),
            };
            named.push(Named { source, namespace: namespace.clone(), name });
        }
    }

    /// Makes a call, unless the API server is gone. A call that fails is a note.
    async fn ask<T>(&mut self, object: Object<'_>, call: impl Future<Output = Result<T, CallError>>) -> Option<T> {
        if let Some(unasked) = &mut self.unasked {
            unasked.push(object.to_string());
            return None;
        }
        match call.await {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.refuse(&object, &error);
                None
            }
        }
    }

    /// Notes that a call failed.
    fn refuse(&mut self, object: &Object<'_>, error: &CallError) {
        self.found.complete &= object.stays_unread(error);
        self.found.notes.push(Note::new(object.to_string(), self.refusal(error, object)));
        if error.is_lasting() {
            self.unasked = Some(Vec::new());
        }
    }

    /// What a failed call means, and what to do about it.
    fn refusal(&self, error: &CallError, object: &Object<'_>) -> String {
        let bearer = self.cluster.bearer.as_ref();
        let bearer =
            bearer.map_or_else(|| "this pod's service account".to_owned(), |bearer| bearer.account.to_string());
        match (error, object) {
            (CallError::Unauthorized, _) => {
                format!("unauthorized: the API server does not accept the token {}", self.cluster.token_file.display())
            }
            (CallError::Forbidden, Object::Pod { .. }) => format!(
                "the pod may not be read: {bearer} may not get {object}; a Role with get on pods is needed if the pod \
                 itself names pull secrets"
            ),
            (CallError::Forbidden, Object::Account(account)) => {
                format!("forbidden: {bearer} may not get {account}; a Role with get on serviceaccounts is needed")
            }
            (CallError::Forbidden, Object::Secret(PullSecretName { namespace, name, .. })) => {
                format!(
                    "forbidden: {bearer} may not get secret {namespace}/{name}; a Role with get on secrets is needed"
                )
            }
            (CallError::NotFound, Object::Pod { .. }) => {
                "the pod may not be read: the cluster has no pod of this name".to_owned()
            }
            (CallError::NotFound, Object::Account(_)) => {
                "not found: the cluster has no service account of this name".to_owned()
            }
            (CallError::NotFound, Object::Secret(secret)) => {
                format!("not found: namespace {} has no secret of this name", secret.namespace)
            }
            (
                CallError::Status { .. }
                | CallError::TimedOut { .. }
                | CallError::Transport(_)
                | CallError::Client { .. }
                | CallError::NotTheObject { .. },
                _,
            ) => chain(error),
        }
    }
}

impl Object<'_> {
    /// Whether another attempt would meet the same refusal. A pod that is not in the cluster (any more) does not come
    /// back; a secret or a service account may appear late.
    fn stays_unread(&self, error: &CallError) -> bool {
        match (error, self) {
            (CallError::Forbidden, _) | (CallError::NotFound, Self::Pod { .. }) => true,
            (CallError::NotFound, Self::Account(_) | Self::Secret(_))
            | (
                CallError::Unauthorized
                | CallError::Status { .. }
                | CallError::TimedOut { .. }
                | CallError::Transport(_)
                | CallError::Client { .. }
                | CallError::NotTheObject { .. },
                _,
            ) => false,
        }
    }
}

/// The source of a note.
impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod { namespace, name } => write!(f, "pod {}/{}", namespace.as_str(), name.as_str()),
            Self::Account(account) => account.fmt(f),
            Self::Secret(secret) => secret.fmt(f),
        }
    }
}

/// What a secret holds for the keychain, by its type.
pub(super) fn document(secret: ApiSecret) -> PullSecretDocument {
    let mut data = secret.data.unwrap_or_default();
    let mut text = |key: &'static str, form: fn(Secret) -> PullSecretDocument| match data.remove(key) {
        None => PullSecretDocument::Unusable(UnusablePullSecret::NoKey(key)),
        Some(bytes) => String::from_utf8(bytes.0).map_or_else(
            |_| PullSecretDocument::Unusable(UnusablePullSecret::NotUtf8(key)),
            |text| form(Secret::new(text)),
        ),
    };
    match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => text(".dockerconfigjson", PullSecretDocument::Config),
        Some("kubernetes.io/dockercfg") => text(".dockercfg", PullSecretDocument::Legacy),
        other => PullSecretDocument::Unusable(UnusablePullSecret::OtherType(other.unwrap_or_default().to_owned())),
    }
}
