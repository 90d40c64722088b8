//! What the pod has of its cluster: a token, what that may read, the pull secrets that it leads to.

mod rights;
mod token;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::row::{Check, Row};
use crate::host::Host;
use crate::http::Network;
use crate::kube::{CALL_DEADLINE, Rights, TokenClaims, Wanted};
use crate::secrets::Secrets;
use crate::spec::LookupSpec;
use crate::sys::cause::chain;

/// How long the API server is asked.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// The token.
pub(super) fn token(spec: &LookupSpec) -> Vec<Row> {
    let secrets = Secrets::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let row = token::row(&TokenClaims::read(&spec.service_account_dir, &secrets), now);
    vec![row.without(&secrets)]
}

/// Rights and pull secrets.
pub(super) fn rows(spec: &LookupSpec, host: &Host) -> Vec<Row> {
    let secrets = Secrets::default();
    let rows = match find(spec, host, &secrets) {
        Ok((rights, left)) => rights::rows(&rights, left.as_deref()),
        Err((reason, fix)) => [Check::Rbac, Check::PullSecrets].map(|check| check.not_checked(&reason, &fix)).into(),
    };
    rows.into_iter().map(|row| row.without(&secrets)).collect()
}

/// What may be read, and why the rest was left out.
fn find(spec: &LookupSpec, host: &Host, secrets: &Secrets) -> Result<(Rights, Option<String>), (String, String)> {
    let broken = |reason: String| (reason, "see the line of the proxy".to_owned());
    let network = Network::new(&host.env).map_err(|error| broken(chain(&error)))?;
    for (user, password) in network.proxies().users() {
        secrets.keep_pair(&user, password.expose());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| broken(format!("the asynchronous runtime cannot be started: {error}")))?;
    let wanted = Wanted {
        dir: &spec.service_account_dir,
        namespace: spec.namespace.as_deref(),
        service_account: spec.service_account.as_deref(),
        pull_secrets: &spec.pull_secrets,
        call_deadline: CALL_DEADLINE,
        secrets,
    };
    let mut rights = Rights::default();
    let asked =
        runtime.block_on(async { tokio::time::timeout(LIMIT, rights.find(&network, &host.env, &wanted)).await });
    match asked {
        Ok(Ok(())) => Ok((rights, None)),
        Ok(Err(error)) => Err((chain(&error), "run it in a pod whose service account's token is mounted".to_owned())),
        Err(_) => Ok((rights, Some(format!("not everything was asked within {LIMIT:?}")))),
    }
}
