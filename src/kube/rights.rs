//! What the pod's own token may read of what a lookup would read, one question after the other.
//!
//! The API server is asked whether it would allow a GET (`SelfSubjectAccessReview`), and what it would is got. Where it does
//! not say, the GET itself is the answer.

use std::fmt;

use super::Wanted;
use super::api::{Api, CallError};
use super::identity::{Name, ServiceAccount};
use super::in_cluster::{InCluster, InClusterError};
use super::own;
use super::reader::document;
use crate::credential::{NamedBy, Note, PullSecretDocument, PullSecretName};
use crate::host::Env;
use crate::http::Network;
use crate::sys::cause::chain;
use crate::trace::Trace;

/// How many pull secrets are asked for.
const SECRETS: usize = 20;

/// An object that a lookup reads. Shown, it is what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// `pods`, as rules have it.
    pub resource: &'static str,
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
}

/// Whether an object may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// It was read.
    Read,
    /// It may not be.
    Forbidden,
    /// It may be, and is not there.
    Missing,
    /// It was not found out.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// A pull secret that somebody names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSecret {
    /// Which one it is, and who named it.
    pub name: PullSecretName,
    /// The object.
    pub object: Object,
    /// Whether it may be read.
    pub access: Access,
    /// What it holds, where it was read.
    pub document: Option<PullSecretDocument>,
}

/// What was found out so far: it is there also when the time is up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Who asks, by the token's own word.
    pub bearer: Option<ServiceAccount>,
    /// The pod itself. Without it the token does not say which pod it is for.
    pub pod: Option<(Object, Access)>,
    /// The service account whose pull secrets are wanted.
    pub account: Option<(Object, Access)>,
    /// The pull secrets that are named where anybody could read it.
    pub secrets: Vec<NamedSecret>,
    /// Names that cannot be any, and how many are not looked at.
    pub notes: Vec<Note>,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.resource {
            "pods" => "pod",
            "serviceaccounts" => "service account",
            _ => "secret",
        };
        write!(f, "{kind} {}/{}", self.namespace.as_str(), self.name.as_str())
    }
}

impl Rights {
    /// Finds out what may be read.
    ///
    /// # Errors
    ///
    /// [`InClusterError`], where there is no cluster to ask.
    pub async fn find(&mut self, network: &Network, env: &Env, wanted: &Wanted<'_>) -> Result<(), InClusterError> {
        let cluster = InCluster::find(env, wanted.dir, wanted.namespace, wanted.service_account)?;
        let account = &cluster.account;
        self.bearer = cluster.bearer.as_ref().map(|bearer| bearer.account.clone());
        let api = match Api::new(network, &cluster, wanted, &Trace::default()) {
            Ok(api) => api,
            Err(error) => {
                let object = Object::of("serviceaccounts", &account.namespace, &account.name);
                self.account = Some((object, Access::Unknown { reason: chain(&error) }));
                return Ok(());
            }
        };
        let mut asking = Asking { api: &api, gone: None };
        if let Ok((bearer, bound)) = own::bound(&cluster) {
            let object = Object::of("pods", &bearer.account.namespace, &bound.name);
            let (access, names) = asking.ask(&object, api.pod(&object.namespace, &object.name)).await;
            let names = names.map(|pod| own::checked(pod, bound).map(|(names, _)| names));
            let (access, names) = match names {
                Some(Ok(names)) => (access, names),
                Some(Err(unread)) => (Access::Unknown { reason: unread.reason }, Vec::new()),
                None => (access, Vec::new()),
            };
            self.pod = Some((object.clone(), access));
            self.name(&object.namespace, NamedBy::Pod, &names);
        }
        self.name(&account.namespace, NamedBy::Flag, wanted.pull_secrets);
        let object = Object::of("serviceaccounts", &account.namespace, &account.name);
        let (access, names) = asking.ask(&object, api.account_pull_secrets(account)).await;
        self.account = Some((object, access));
        self.name(&account.namespace, NamedBy::ServiceAccount, &names.unwrap_or_default());
        for secret in &mut self.secrets {
            let call = api.secret(&secret.object.namespace, &secret.object.name);
            let (access, answer) = asking.ask(&secret.object, call).await;
            secret.access = access;
            secret.document = answer.map(document);
        }
        Ok(())
    }

    /// Adds what somebody names; one that is named already has one more who names it.
    fn name(&mut self, namespace: &Name, by: NamedBy, names: &[String]) {
        // Kubernetes allows an empty name, which names nothing.
        for text in names.iter().filter(|name| !name.is_empty()) {
            let name = match Name::parse(text, "secret") {
                Ok(name) => name,
                Err(error) => {
                    self.notes.push(Note::failed(by.to_string(), &error));
                    continue;
                }
            };
            let object = Object::of("secrets", namespace, &name);
            if let Some(earlier) = self.secrets.iter_mut().find(|earlier| earlier.object == object) {
                let known = &mut earlier.name;
                if known.named_by != by && !known.also_by.contains(&by) {
                    known.also_by.push(by);
                }
            } else if self.secrets.len() < SECRETS {
                let name = PullSecretName {
                    namespace: namespace.as_str().to_owned(),
                    name: text.clone(),
                    named_by: by,
                    also_by: Vec::new(),
                };
                let access = Access::Unknown { reason: "not asked in time".to_owned() };
                self.secrets.push(NamedSecret { name, object, access, document: None });
            } else {
                let note = Note::new(by.to_string(), format!("names more than {SECRETS} pull secrets"));
                if !self.notes.contains(&note) {
                    self.notes.push(note);
                }
            }
        }
    }
}

impl Object {
    fn of(resource: &'static str, namespace: &Name, name: &Name) -> Self {
        Self { resource, namespace: namespace.clone(), name: name.clone() }
    }
}

/// The questions, until the API server is gone.
struct Asking<'a> {
    api: &'a Api,
    /// Why there are no more.
    gone: Option<String>,
}

impl Asking<'_> {
    /// Whether an object may be read, and what it is.
    async fn ask<T>(
        &mut self,
        object: &Object,
        get: impl Future<Output = Result<T, CallError>>,
    ) -> (Access, Option<T>) {
        if let Some(reason) = &self.gone {
            return (Access::Unknown { reason: reason.clone() }, None);
        }
        match self.api.may_get(object.resource, &object.namespace, &object.name).await {
            Ok(false) => return (Access::Forbidden, None),
            Err(error) if error.is_lasting() => return (self.failed(&error), None),
            // Who may not ask what it may read can still try.
            Ok(true) | Err(_) => {}
        }
        match get.await {
            Ok(answer) => (Access::Read, Some(answer)),
            Err(CallError::Forbidden) => (Access::Forbidden, None),
            Err(CallError::NotFound) => (Access::Missing, None),
            Err(error) => (self.failed(&error), None),
        }
    }

    fn failed(&mut self, error: &CallError) -> Access {
        let reason = match error {
            CallError::Unauthorized => "the API server does not accept the token: unauthorized".to_owned(),
            CallError::Forbidden
            | CallError::NotFound
            | CallError::Status { .. }
            | CallError::TimedOut { .. }
            | CallError::Transport(_)
            | CallError::Client { .. }
            | CallError::NotTheObject { .. } => chain(error),
        };
        if error.is_lasting() {
            self.gone = Some(format!("not asked any more: {reason}"));
        }
        Access::Unknown { reason }
    }
}
