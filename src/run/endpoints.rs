//! The wait for endpoints: between the step's turn and everything else that comes before its program.

use std::time::Instant;

use super::attend::Beside;
use super::pass::Pass;
use crate::endpoints::{Endpoints, Failure};
use crate::host::Env;
use crate::lookup::Lookup;
use crate::outcome::{NotRunKind, Outcome};
use crate::spec::{CommandSource, Endpoint, ImageSource, LookupSpec, StepSpec};
use crate::step::substitution;
use crate::step::when::{Verdict, WhenExpression};
use crate::sys::clock;
use crate::sys::memory;

impl<'a> Pass<'a> {
    /// Waits until every endpoint has answered. For a step that its when expressions do not want nothing is waited for.
    pub(super) fn wait_for_endpoints(
        &mut self,
        when: &[WhenExpression],
        mut lookup: Option<&mut Lookup<'a>>,
    ) -> Result<(), Outcome> {
        let (step, host) = (self.spec, self.host);
        let spec = &step.endpoints;
        if spec.endpoints.is_empty() || self.is_unwanted(when)? {
            return Ok(());
        }
        let failed = |failure: Failure| Outcome::not_run(NotRunKind::Endpoint, failure.to_string());
        let mut endpoints = Endpoints::start(spec, &host.env, &self.signals.found_mask()).map_err(failed)?;
        loop {
            if let Some(ended) = endpoints.advance(Instant::now()) {
                return ended.map_err(failed);
            }
            memory::release_program_pages();
            self.sleep(None, &mut Beside::Endpoints(&mut endpoints, lookup.as_deref_mut()))?;
        }
    }

    /// Whether the step is not wanted, as far as that is known before its command is.
    fn is_unwanted(&mut self, when: &[WhenExpression]) -> Result<bool, Outcome> {
        let mut when = when.to_vec();
        let (mut env, mut argv) = (Env::default(), Vec::new());
        if substitution::results(&mut env, &mut when, &mut argv, &self.host.dirs.steps).is_err() {
            // That is told, with what follows from it, where the references of the whole step are replaced.
            return Ok(false);
        }
        let verdict = self.verdict(&when);
        if verdict.is_err() {
            self.started_at = Some(clock::now());
        }
        Ok(verdict? == Verdict::Skip)
    }
}

/// The image to ask for only when the endpoints have answered: where one of them is the daemon that may have it.
pub(super) fn asked_behind_them(spec: &StepSpec) -> Option<&LookupSpec> {
    match &spec.command {
        CommandSource::Image(image)
            if spec.endpoints.endpoints.contains(&Endpoint::Docker) && image.sources.contains(&ImageSource::Docker) =>
        {
            Some(image)
        }
        CommandSource::Image(_) | CommandSource::Given(_) | CommandSource::PlatformTable => None,
    }
}

#[cfg(feature = "lookup")]
#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{self, Invocation};

    fn step(endpoints: &str, sources: &[ImageSource]) -> StepSpec {
        let argv = ["entrypoint", "-image", "busybox", "-wait_endpoints", endpoints].map(OsString::from);
        let Ok(Invocation::Step(mut step)) = cli::parse(&argv) else { panic!("a step") };
        let CommandSource::Image(image) = &mut step.command else { panic!("an image") };
        image.sources = sources.to_vec();
        *step
    }

    #[test]
    fn an_image_that_the_awaited_daemon_may_have_is_asked_for_behind_the_wait() {
        let both = [ImageSource::Registry, ImageSource::Docker];
        for (endpoints, sources, later) in [
            ("docker", &both[..], true),
            ("tcp://a:1,docker", &both[1..], true),
            ("docker", &both[..1], false),
            ("tcp://docker:2376", &both[..], false),
            ("", &both[..], false),
        ] {
            assert_eq!(asked_behind_them(&step(endpoints, sources)).is_some(), later, "{endpoints} {sources:?}");
        }
    }
}
