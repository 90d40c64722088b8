//! One part of the checks, in a process of its own: whatever becomes of it, the others come to their end.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use super::row::{Check, Row};
use super::{cluster, files, network, place};
use crate::host::Host;
use crate::outcome::ChildExit;
use crate::spec::DoctorSpec;
use crate::sys::cause::Cause;
use crate::sys::helper::{Ended, Helper};
use crate::sys::isolation;
use crate::sys::signals::{self, Mask};

/// A part of the checks. In the release build a panic ends its process, and nothing ends a read that hangs but a kill: so
/// what is asked of different people stands in different processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// Where we are: container, process, volumes.
    Place,
    /// The token's file.
    Token,
    /// The cluster.
    Cluster,
    /// Files and variables: configs, identities, authorities.
    Files,
    /// Name servers, proxy, the registry and its clock.
    Network,
}

impl Probe {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [Self::Place, Self::Token, Self::Cluster, Self::Files, Self::Network];

    /// What it checks.
    fn checks(self) -> &'static [Check] {
        match self {
            Self::Place => &[Check::Container, Check::Process, Check::Volume],
            Self::Token => &[Check::Token],
            Self::Cluster => &[Check::Rbac, Check::PullSecrets],
            Self::Files => &[Check::ConfigFiles, Check::CloudIdentity, Check::CaRoots],
            Self::Network => &[Check::Dns, Check::Proxy, Check::Registry, Check::Clock],
        }
    }

    /// When it is killed. What talks to somebody gives up before that by itself, and says for whom it waited.
    fn limit(self) -> Duration {
        match self {
            Self::Place | Self::Token | Self::Files => Duration::from_secs(5),
            Self::Cluster => cluster::LIMIT + MARGIN,
            Self::Network => network::LIMIT + MARGIN,
        }
    }

    fn rows(self, spec: &DoctorSpec, host: &Host) -> Vec<Row> {
        match self {
            Self::Place => place::rows(host),
            Self::Token => cluster::token(spec.settings()),
            Self::Cluster => cluster::rows(spec.settings(), host),
            Self::Files => files::rows(spec, host),
            Self::Network => network::rows(spec, host),
        }
    }

    /// Starts the process.
    ///
    /// # Errors
    /// The rows that say that there is none.
    pub(super) fn start(self, spec: &DoctorSpec, host: &Host, mask: &Mask) -> Result<Helper, Vec<Row>> {
        let parent = std::process::id();
        Helper::start(self.limit(), |pipe| self.in_child(spec, host, pipe, parent, mask))
            .map_err(|error| self.lost(&format!("its process cannot be started: {}", Cause(&error))))
    }

    /// The child's life.
    fn in_child(self, spec: &DoctorSpec, host: &Host, pipe: File, parent: u32, mask: &Mask) -> u8 {
        let Ok(mut pipe) = isolation::isolate(pipe, parent, mask) else { return 1 };
        let rows = serde_json::to_vec(&self.rows(spec, host));
        u8::from(!rows.is_ok_and(|rows| pipe.write_all(&rows).is_ok()))
    }

    /// What the end of its process means.
    pub(super) fn read(self, ended: Ended) -> Vec<Row> {
        let lost = |reason: &str| self.lost(reason);
        match ended {
            Ended::Document(bytes) => serde_json::from_slice(&bytes)
                .unwrap_or_else(|error| lost(&format!("its process gave no answer that can be read: {error}"))),
            Ended::Died(ChildExit::Code(code)) => lost(&format!("its process ended with code {code} and no answer")),
            Ended::Died(ChildExit::Signal(number)) => {
                lost(&format!("its process was killed by {}", signals::name(number)))
            }
            Ended::TimedOut => lost(&format!("it came to no end within {:?}", self.limit())),
            Ended::TooLong => lost("its answer is longer than 1 MiB"),
        }
    }

    fn lost(self, reason: &str) -> Vec<Row> {
        let fix = match self {
            Self::Place => "look at the mounts of this container: a file system that does not answer hangs here",
            Self::Token => "look at -service_account_dir: a FIFO or a file system that does not answer hangs here",
            Self::Files => "look at HOME, SSL_CERT_FILE, SSL_CERT_DIR: a file system that does not answer hangs here",
            Self::Cluster | Self::Network => "run it again; if it was killed, give this container more memory",
        };
        self.checks().iter().map(|check| check.not_checked(reason, fix)).collect()
    }
}

/// What a process has beyond the time that it gives itself.
const MARGIN: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_but_the_lookup_belongs_to_one_probe() {
        let mut all: Vec<Check> = Probe::ALL.iter().flat_map(|probe| probe.checks()).copied().collect();
        all.push(Check::Lookup);
        all.sort_unstable();
        assert_eq!(all, Check::ALL);
    }

    #[test]
    fn every_end_of_a_process_but_an_answer_is_told_for_each_of_its_checks() {
        let rows = vec![Check::Token.ok("fine")];
        assert_eq!(Probe::Token.read(Ended::Document(serde_json::to_vec(&rows).unwrap())), rows);
        for (ended, part) in [
            (Ended::Document(b"{".to_vec()), "its process gave no answer that can be read: "),
            (Ended::Died(ChildExit::Code(1)), "its process ended with code 1 and no answer"),
            (Ended::Died(ChildExit::Signal(libc::SIGABRT)), "its process was killed by SIGABRT"),
            (Ended::TimedOut, "it came to no end within 5s"),
            (Ended::TooLong, "its answer is longer than 1 MiB"),
        ] {
            let rows = Probe::Files.read(ended);
            let checks: Vec<Check> = rows.iter().map(|row| row.check).collect();
            assert_eq!(checks, [Check::ConfigFiles, Check::CloudIdentity, Check::CaRoots]);
            assert!(rows.iter().all(|row| row.says.starts_with(part) && row.fix.is_some()), "{rows:?}");
        }
    }
}
