//! What stands for the checks of a cluster in a build without `kube`.

use std::time::Duration;

use super::row::{Check, Row};
use crate::host::Host;
use crate::spec::LookupSpec;

/// Nobody is asked.
pub(super) const LIMIT: Duration = Duration::from_secs(1);

const REASON: &str = "this entrypoint was built without the feature kube";
const FIX: &str = "use one that has it: entrypoint version says so";

pub(super) fn token(_: &LookupSpec) -> Vec<Row> {
    vec![Check::Token.not_checked(REASON, FIX)]
}

pub(super) fn rows(_: &LookupSpec, _: &Host) -> Vec<Row> {
    [Check::Rbac, Check::PullSecrets].map(|check| check.not_checked(REASON, FIX)).into()
}
