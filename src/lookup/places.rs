//! One place after the other is asked for the image, until one has it.

use std::time::{Duration, SystemTime};

use super::When;
use super::ask::Attempt;
use super::document::{Failure, Found, FoundAt, RuntimeWord};
use super::gather::{Gathered, Pod};
use super::pin::{self, STRICT, WITHOUT, strict_refusal};
use crate::authn::chain::Chain;
use crate::authn::cloud::{Identities, Limits, Setting};
use crate::cloud::CloudRegistry;
use crate::credential::Note;
use crate::image::agreement::Because;
use crate::image::platform;
use crate::image::{Agreement, Running, shown};
use crate::pause;
use crate::registry::node_files::{self, NodeFileError};
use crate::registry::{
    self, Aim, ClientCertificate, FetchedImage, NotFollowed, Patience, Places, RegistryError, Retry, Route, Rules,
    Scheme, Settings, Shelf, Telling,
};
use crate::spec::LookupSpec;
use crate::sys::cause::chain;
use crate::trace::Requests;

/// How long transient failures of a place are borne where there is another one to ask: a blip, and no more.
const BRIEFLY: Patience =
    Patience { tries: 2, first_pause: Duration::from_secs(1), budget: Duration::from_secs(1), chance: 0 };

/// A place that does not have the image.
struct Without {
    /// Whether it is the one that the image names itself.
    own: bool,
    /// The place and why it was asked, and what came of it.
    said: Note,
    missed: Missed,
}

/// Whether an image that a place does not have may be there later.
#[derive(Debug, Clone, Copy)]
struct Missed {
    /// Whether time may mend it.
    retryable: bool,
    /// The pause that the place asks for.
    retry_after: Option<Duration>,
}

/// Asks every place for the image, in order. A place that is dead, or has something else, leaves the next one its share of
/// the time. What kubelet reports that the step runs is known already, or read with the pull secrets.
pub(super) async fn ask(attempt: Attempt<'_>, known: Option<RuntimeWord>) -> Result<Found, Failure> {
    let Places { routes, notes: mut story } = attempt.places().map_err(|error| {
        // Whoever named the files meant them: to ask elsewhere might be to ask the wrong place.
        Failure::of(&attempt.spec.image, chain(&error))
    })?;
    let settings = settings(attempt.spec);
    let mut pod = Pod::new(attempt);
    if attempt.pins() && known.is_none() {
        pod.read_cluster(&mut story).await;
    }
    let mut word = known.unwrap_or_else(|| pod.word());
    if attempt.is_strict() && attempt.when == When::Turn {
        word = attempt.awaited_word(word).await;
    }
    if attempt.is_strict()
        && let Some((reason, retryable)) = strict_refusal(&word)
        // While the step waits it may come yet, and what the registry has is good to know.
        && !(retryable && attempt.when == When::Waiting)
    {
        let reason = attempt.waited(&reason, retryable);
        return Err(Failure {
            retryable,
            runtime: Box::new(word),
            notes: story,
            ..Failure::of(&attempt.spec.image, reason)
        });
    }
    let shelf = attempt.shelf(routes.len(), &mut story);
    let mut without = Vec::new();
    let mut second_best = None;
    for (index, route) in routes.iter().enumerate() {
        if route.credentials {
            pod.read_cluster(&mut story).await;
        }
        let (alone, others) = (routes.len() == 1, routes.len() - index - 1);
        let patience = if others == 0 { Patience::default() } else { BRIEFLY };
        let patience = Patience { chance: pause::some_number(), ..patience };
        let settings = Settings { patience, ..settings.clone() };
        let share = attempt.left() / u32::try_from(others + 1).unwrap_or(u32::MAX);
        let known = story.len();
        let mut identities = attempt.identities(route, &mut story);
        let place = Place { route, settings: &settings, running: word.running(), shelf: shelf.as_ref() };
        let asking = attempt.ask_place(&place, &pod, identities.as_mut(), &mut story);
        let asked = tokio::time::timeout(share, asking).await.unwrap_or_else(|_| {
            story.extend(registry::in_force(attempt.network, route));
            Err((attempt.no_answer(route, share, alone), Missed { retryable: true, retry_after: None }))
        });
        let told = story.split_off(known).into_iter();
        // Sources that have nothing for one place have nothing for the next one either: that is told once.
        let new = told.filter(|note| !story.contains(note)).collect::<Vec<_>>();
        story.extend(new);
        let named = || format!("{} ({})", route.reference.registry(), route.origin);
        match asked {
            Ok(image) => match &image.not_followed {
                None => return Ok(attempt.found(route, image, word, story)),
                Some(NotFollowed { reason, retryable, retry_after }) => {
                    let said = Note::new(named(), reason.clone());
                    story.push(said.clone());
                    let missed = Missed { retryable: *retryable, retry_after: *retry_after };
                    without.push(Without { own: attempt.is_own(route), said, missed });
                    second_best.get_or_insert((route, image));
                }
            },
            Err((reason, missed)) => {
                let said = Note::new(named(), reason);
                story.push(said.clone());
                without.push(Without { own: attempt.is_own(route), said, missed });
            }
        }
    }
    match second_best {
        Some((route, image)) if !attempt.is_strict() => {
            // That it is another image is told beside the story.
            let reason = image.not_followed.as_ref().map(|not| not.reason.clone()).unwrap_or_default();
            story.retain(|note| note.outcome != reason);
            Ok(Found { follow_later: follow_later(&without), ..attempt.found(route, image, word, story) })
        }
        Some(_) => {
            let failure = attempt.failure(without, word, story);
            let reason = format!("{STRICT}{}{WITHOUT}", failure.reason);
            Err(Failure { reason, ..failure })
        }
        None => Err(attempt.failure(without, word, story)),
    }
}

/// When it is worth asking again for what runs, if it is: where the image's own place may have it later. Any other that is
/// dead would have the tag asked for again and again.
fn follow_later(without: &[Without]) -> Option<Duration> {
    let own = without.iter().filter(|without| without.own && without.missed.retryable);
    own.map(|without| without.missed.retry_after.unwrap_or_default()).min()
}

/// A place that is asked, and what is known before.
struct Place<'a> {
    route: &'a Route,
    settings: &'a Settings,
    running: Option<&'a Running>,
    shelf: Option<&'a Shelf>,
}

fn settings(spec: &LookupSpec) -> Settings {
    let client = |(registry, certificate, key): &(String, _, _)| {
        let (certificate, key) = (Clone::clone(certificate), Clone::clone(key));
        (registry.clone(), ClientCertificate { certificate, key })
    };
    Settings {
        certificates: spec.certificates.clone(),
        client_certificates: spec.client_certificates.iter().map(client).collect(),
        insecure: spec.insecure.clone(),
        unverified: spec.unverified.clone(),
        patience: Patience::default(),
    }
}

impl Attempt<'_> {
    /// Where the image is asked for.
    fn places(&self) -> Result<Places, NodeFileError> {
        let Self { spec, host, reference, .. } = self;
        let rules = Rules { map: &spec.registry_map, mirrors: &spec.mirrors, only: spec.map_only };
        let files = node_files::read(&spec.registry_configs)?.routes(reference)?;
        Ok(registry::routes(reference, &rules, registry::runner(&host.env, reference), files))
    }

    /// What others have looked up before, if there is a directory for that. Of the time that each of so many places has,
    /// half is for asking it, whoever else holds the lock.
    fn shelf(&self, places: usize, story: &mut Vec<Note>) -> Option<Shelf> {
        let dir = self.spec.cache_dir.as_ref()?;
        let key = format!("{} {}", self.reference, self.wanted);
        let pod = self.pod_uid();
        let patience = self.left() / u32::try_from(places.saturating_mul(2)).unwrap_or(u32::MAX).max(1);
        match Shelf::open(dir, pod.as_deref(), key, patience) {
            Ok(shelf) => Some(shelf),
            Err(error) => {
                story.push(Note::new(registry::shelf_name(dir), format!("not used: {}", chain(&error))));
                None
            }
        }
    }

    /// Whether a place is the image's own, also where somebody else names it.
    fn is_own(&self, route: &Route) -> bool {
        route.reference.to_string() == self.reference.to_string()
    }

    /// The pod's identities in the cloud that owns a place, if there is one that may be asked.
    fn identities(&self, route: &Route, story: &mut Vec<Note>) -> Option<Identities<'_>> {
        if !route.credentials {
            return None;
        }
        if route.api.scheme == Scheme::Http
            && let Some(owned) = CloudRegistry::of(route.reference.registry())
        {
            let why = "not asked: its tokens are for https, and this place is spoken to over plain http";
            story.push(Note::new(format!("{} identity", owned.cloud()), why));
            return None;
        }
        let Self { spec, host, network, trace, secrets, .. } = *self;
        let setting = Setting {
            env: &host.env,
            network,
            certificates: &spec.certificates,
            unverified: &spec.unverified,
            limits: Limits::default(),
            now: SystemTime::now(),
            trace,
            secrets,
        };
        let (identities, left_out) = Identities::of(&setting, route.reference.registry(), &spec.clouds);
        story.extend(left_out);
        identities
    }

    /// Asks one place. A failure is a sentence, and whether time may mend it and when. Notes are left behind as they come, so
    /// that they are there when the time is up.
    async fn ask_place(
        &self,
        place: &Place<'_>,
        pod: &Pod<'_>,
        mut identities: Option<&mut Identities<'_>>,
        story: &mut Vec<Note>,
    ) -> Result<FetchedImage, (String, Missed)> {
        let Self { network, reference, wanted, trace, secrets, .. } = *self;
        let Place { route, settings, running, shelf } = *place;
        let gathered = if route.credentials { pod.gather(&route.reference, story).await } else { Gathered::nothing() };
        let keychain = Chain::new(gathered.credentials, identities.as_deref_mut());
        let telling = Telling { story, trace, secrets };
        let aim = Aim { requested: reference, platform: wanted, running, shelf };
        let asked = registry::fetch_image_telling(network, settings, route, aim, keychain, telling).await;
        asked.map_err(|error| {
            let retryable = match error.retry() {
                Retry::Useless => false,
                Retry::WithMoreCredentials => {
                    !gathered.complete || identities.as_ref().is_some_and(|identities| identities.may_pass())
                }
                Retry::Worthwhile => true,
            };
            let mut reason = chain(&error);
            if let RegistryError::NoCredential { .. } = error {
                reason.push_str(&self.hint(route));
            }
            if let (RegistryError::NotFound { .. }, Some(running @ Running { identity: Some(_), .. })) =
                (&error, running)
            {
                reason.push_str(&format!(
                    "; nor is what the container runs to be had there, {}: an image that is only on its node cannot be \
                     looked up, give the program with -entrypoint",
                    shown(&running.image_id, pin::SHOWN)
                ));
            }
            (reason, Missed { retryable, retry_after: error.retry_after() })
        })
    }

    /// What to do where a credential is needed.
    fn hint(&self, route: &Route) -> String {
        let registry = route.reference.registry();
        if !route.credentials {
            let scheme = if route.api.scheme == Scheme::Http { "http://" } else { "" };
            let own = self.reference.registry();
            let why = format!("; {} shows nobody a credential", route.origin);
            return format!("{why}: -image_registry_map {own}={scheme}{registry} does");
        }
        let advice = match CloudRegistry::of(registry) {
            Some(_) => "; give the pod an identity that may read it, or the service account a pull secret for it",
            None => "; give the service account a pull secret for it, or name one with -image_pull_secrets",
        };
        advice.to_owned()
    }

    /// The reason of a place whose time is up.
    fn no_answer(&self, route: &Route, share: Duration, alone: bool) -> String {
        let (registry, timeout) = (route.reference.registry(), self.spec.timeout);
        if alone && self.spec.sources.len() == 1 {
            return format!("no answer from {registry} within {timeout:?} (-image_lookup_timeout)");
        }
        let share = Duration::from_millis(u64::try_from(share.as_millis()).unwrap_or(u64::MAX));
        format!("no answer from {registry} within {share:?}, its share of -image_lookup_timeout")
    }

    fn found(&self, route: &Route, image: FetchedImage, word: RuntimeWord, notes: Vec<Note>) -> Found {
        let elsewhere = || FoundAt { image: route.reference.to_string(), because: route.origin.to_string() };
        Found {
            image: self.reference.to_string(),
            found_at: (!self.is_own(route)).then(elsewhere),
            daemon: None,
            entrypoint: image.config.entrypoint,
            cmd: image.config.cmd,
            index_digest: image.index_digest.map(|digest| digest.to_string()),
            manifest_digest: image.manifest_digest.map(|digest| digest.to_string()),
            config_digest: Some(image.config_digest.to_string()),
            repository_digest: None,
            platform: shown(&image.platform.to_string(), platform::SHOWN),
            wanted: self.wanted.to_string(),
            credential: image.credential,
            agreement: match word {
                RuntimeWord::NotAsked => Agreement::unknown(Because::NotWanted),
                RuntimeWord::Unread { .. } | RuntimeWord::Reported { .. } => image.agreement,
            },
            runtime: word,
            leads_to: image.leads_to,
            pinned_by: image.pinned_by,
            not_followed: image.not_followed.map(|not| not.reason),
            follow_later: None,
            cache: self.spec.cache_dir.as_ref().filter(|_| image.from_shelf).map(|dir| dir.display().to_string()),
            notes,
            requests: Requests::default(),
        }
    }

    /// The failure of every place as one: the image's own registry first, which people know.
    fn failure(&self, mut without: Vec<Without>, runtime: RuntimeWord, mut notes: Vec<Note>) -> Failure {
        let retryable = without.iter().any(|without| without.missed.retryable);
        let retry_after = without.iter().filter_map(|without| without.missed.retry_after).min();
        notes.retain(|note| !without.iter().any(|without| without.said == *note));
        without.sort_by_key(|without| !without.own);
        let reason = match without.as_slice() {
            [] => "-image_registry_map_only leaves no place to ask".to_owned(),
            [Without { own: true, said, .. }] => said.outcome.clone(),
            all => all.iter().map(|without| without.said.to_string()).collect::<Vec<_>>().join("; "),
        };
        Failure { retryable, retry_after, runtime: Box::new(runtime), notes, ..Failure::of(&self.spec.image, reason) }
    }
}
