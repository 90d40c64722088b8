//! The way to the registry: name servers, proxy, what answers over which scheme, and what time it is there.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Url;
use tokio::time::timeout;

use super::row::{Check, Row, about};
use super::trouble::{self, Trouble};
use crate::host::Host;
use crate::http::{NameFiles, Network};
use crate::image::Reference;
use crate::image::shown;
use crate::note::Note;
use crate::registry::node_files::{self, NodeFileError};
use crate::registry::{
    self, ClientCertificate, Login, Patience, Places, Reached, Route, Rules, Scheme, Settings, Telling,
};
use crate::secrets::Secrets;
use crate::spec::{DoctorSpec, ImageSource, LookupSpec};
use crate::sys::cause::{Cause, chain};
use crate::sys::file;
use crate::trace::Trace;

/// How many places are asked.
const PLACES: usize = 3;
/// How long one name may take, and one place.
const NAME: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);
/// How long all of it may take.
pub(super) const LIMIT: Duration = Duration::from_secs(45);
/// How much two clocks may differ, in seconds. Tokens that are made for minutes are refused beyond that.
const SKEW: u64 = 300;
/// How much of `resolv.conf` is read, in bytes, and how many servers are told.
const RESOLV_CONF: u64 = 64 << 10;
const SERVERS: usize = 5;

/// A place where the image is asked for.
#[derive(Debug)]
struct Place {
    /// `host[:port]`.
    registry: String,
    /// Why it is asked.
    origin: String,
    /// The proxy in between.
    proxy: Option<String>,
    /// Its addresses.
    addresses: Result<Vec<IpAddr>, String>,
    /// What came of asking it; nothing where nobody could be asked.
    reached: Option<Result<Reached, Trouble>>,
    /// What time it was here then.
    ours: u64,
}

/// Everything about the network.
pub(super) fn rows(spec: &DoctorSpec, host: &Host) -> Vec<Row> {
    let files = NameFiles::default();
    let resolv_conf = file::head(&files.resolv_conf, RESOLV_CONF);
    let text = resolv_conf.as_ref().map(|text| String::from_utf8_lossy(text)).map_err(|error| Cause(error).to_string());
    let mut rows = vec![name_servers(text.as_deref().map_err(String::as_str))];
    let secrets = Secrets::default();
    match places(spec, host, &secrets) {
        Ok(Asked { places, left_out, none }) => {
            rows.extend(proxies(&none, &places));
            rows.extend(places.iter().flat_map(of_place));
            rows.extend(left_out.into_iter().map(|note| {
                Check::Registry.note(note.to_string(), "look at the flag, the variable or the file that it names")
            }));
            rows.extend(clock(&places));
        }
        Err(unasked) => rows.extend(unasked.rows()),
    }
    rows.into_iter().map(|row| row.without(&secrets)).collect()
}

/// What was asked.
struct Asked {
    places: Vec<Place>,
    /// What there is to tell of other places.
    left_out: Vec<Note>,
    /// The proxies for whoever is no exception.
    none: Vec<String>,
}

/// Why nobody was asked.
enum Unasked {
    /// There is no image, or nothing of it would be asked of a registry. The proxies that there are.
    NoImage { reason: String, fix: &'static str, proxies: Vec<String> },
    /// The image is no reference, or a file of a node is broken.
    Broken { reason: String, fix: &'static str, proxies: Vec<String> },
    /// The proxy variables cannot be followed.
    Proxy(String),
}

impl Unasked {
    fn rows(self) -> Vec<Row> {
        // Where an image is named, another name would not help.
        let clock = Check::Clock.not_checked(
            "no registry was asked for its time",
            match &self {
                Self::NoImage { fix, .. } => fix,
                Self::Broken { .. } => "see the line of the registry",
                Self::Proxy(_) => "see the line of the proxy",
            },
        );
        let (row, proxies) = match self {
            Self::NoImage { reason, fix, proxies } => (Check::Registry.not_checked(reason, fix), Ok(proxies)),
            Self::Broken { reason, fix, proxies } => (Check::Registry.problem(reason, fix), Ok(proxies)),
            Self::Proxy(reason) => {
                let fix = "correct the variable; it may be of the image (kubectl get pod -o yaml shows the pod's own)";
                let row =
                    Check::Registry.not_checked("nobody can be asked: see the line of the proxy", "correct that first");
                (row, Err(Check::Proxy.problem(reason, fix)))
            }
        };
        let mut rows = match proxies {
            Ok(found) => proxies_of(&found),
            Err(row) => vec![row],
        };
        rows.extend([row, clock]);
        rows
    }
}

fn places(spec: &DoctorSpec, host: &Host, secrets: &Secrets) -> Result<Asked, Unasked> {
    let network = Network::new(&host.env).map_err(|error| Unasked::Proxy(chain(&error)))?;
    for (user, password) in network.proxies().users() {
        secrets.keep_pair(&user, password.expose());
    }
    let proxies = |network: &Network| {
        let to = |scheme: &str| format!("{scheme}://registry.example/").parse().ok();
        let named = ["https", "http"].into_iter().filter_map(|scheme| {
            let url: Url = to(scheme)?;
            Some(format!("{scheme} by {}", network.proxies().proxy_for(&url)?))
        });
        named.collect::<Vec<_>>()
    };
    let proxies = proxies(&network);
    let none = |reason: &str, fix| Unasked::NoImage { reason: reason.to_owned(), fix, proxies: proxies.clone() };
    let Some(lookup) = spec.image() else {
        return Err(none("no image is named", "name one: entrypoint doctor IMAGE"));
    };
    if !lookup.sources.contains(&ImageSource::Registry) {
        return Err(none("-image_sources does not name registry", "-image_sources registry,docker asks one"));
    }
    let broken = |reason, fix| Unasked::Broken { reason, fix, proxies: proxies.clone() };
    let reference: Reference =
        lookup.image.parse().map_err(|error| broken(chain(&error), "write it as docker pull takes it"))?;
    let Places { mut routes, mut notes } = routes(lookup, host, &reference)
        .map_err(|error| broken(chain(&error), "mend the file that -image_registry_config names"))?;
    if routes.len() > PLACES {
        let more = routes.len() - PLACES;
        notes.push(Note::new("places", format!("{more} more are not asked here; the lookup asks them")));
        routes.truncate(PLACES);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| broken(format!("nobody can be asked: {error}"), "run it again"))?;
    let network = network.with_connect_timeout(ANSWER);
    let settings = settings(lookup);
    let asked = runtime.block_on(async {
        let mut places = Vec::new();
        for route in &routes {
            places.push(Place::ask(&network, &settings, route, secrets).await);
        }
        places
    });
    Ok(Asked { places: asked, left_out: notes, none: proxies })
}

/// Where the lookup asks for the image.
fn routes(lookup: &LookupSpec, host: &Host, reference: &Reference) -> Result<Places, NodeFileError> {
    let rules = Rules { map: &lookup.registry_map, mirrors: &lookup.mirrors, only: lookup.map_only };
    let files = node_files::read(&lookup.registry_configs)?.routes(reference)?;
    Ok(registry::routes(reference, &rules, registry::runner(&host.env, reference), files))
}

fn settings(lookup: &LookupSpec) -> Settings {
    let client = |(registry, certificate, key): &(String, _, _)| {
        let (certificate, key) = (Clone::clone(certificate), Clone::clone(key));
        (registry.clone(), ClientCertificate { certificate, key })
    };
    Settings {
        certificates: lookup.certificates.clone(),
        client_certificates: lookup.client_certificates.iter().map(client).collect(),
        insecure: lookup.insecure.clone(),
        unverified: lookup.unverified.clone(),
        patience: Patience::without_pauses(),
    }
}

impl Place {
    async fn ask(network: &Network, settings: &Settings, route: &Route, secrets: &Secrets) -> Self {
        let registry = route.reference.registry().to_owned();
        let scheme = if route.api.scheme == Scheme::Http { "http" } else { "https" };
        let url: Option<Url> = format!("{scheme}://{registry}/").parse().ok();
        let proxy = url.as_ref().and_then(|url| network.proxies().proxy_for(url)).map(ToString::to_string);
        let addresses = match url.as_ref().and_then(Url::host_str) {
            Some(host) => match timeout(NAME, network.addresses(host)).await {
                Ok(found) => found.map_err(|error| chain(&error)),
                Err(_) => Err(format!("the name servers gave no answer within {NAME:?}")),
            },
            None => Err("it is no name of a host".to_owned()),
        };
        let reached = if addresses.is_ok() || proxy.is_some() {
            let (mut story, trace) = (Vec::new(), Trace::default());
            let telling = Telling { story: &mut story, trace: &trace, secrets };
            let asked = timeout(ANSWER, registry::reach(network, settings, route, telling)).await;
            Some(match asked {
                Ok(asked) => asked.map_err(|error| trouble::of(&error, &registry)),
                Err(_) => Err(trouble::silent(ANSWER)),
            })
        } else {
            None
        };
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { registry, origin: route.origin.to_string(), proxy, addresses, reached, ours }
    }
}

/// The line of `resolv.conf`.
fn name_servers(text: Result<&str, &str>) -> Row {
    let fix = "let the pod's dnsPolicy be ClusterFirst, or name servers in its dnsConfig";
    let text = match text {
        Ok(text) => text,
        Err(reason) => return Check::Dns.problem(format!("/etc/resolv.conf cannot be read: {reason}"), fix),
    };
    let (mut servers, mut search, mut options) = (Vec::new(), None, None);
    for line in text.lines().map(str::trim) {
        match line.split_once([' ', '\t']) {
            Some(("nameserver", server)) => servers.push(shown(server.trim(), 50)),
            Some(("search" | "domain", domains)) => search = Some(shown(domains.trim(), 200)),
            Some(("options", words)) => options = Some(shown(words.trim(), 100)),
            Some(_) | None => {}
        }
    }
    if servers.is_empty() {
        return Check::Dns.problem("/etc/resolv.conf names no name server", fix);
    }
    servers.truncate(SERVERS);
    let part = |name: &str, value: Option<String>| value.map(|value| format!("; {name} {value}")).unwrap_or_default();
    let says = format!("name servers {}", servers.join(", "));
    Check::Dns.ok(format!("{says}{}{}", part("search", search), part("options", options)))
}

/// The proxies, where there is no image to tell whom they are for.
fn proxies_of(found: &[String]) -> Vec<Row> {
    let says = if found.is_empty() {
        "none is in force".to_owned()
    } else {
        format!("{}; not for whom NO_PROXY names, nor for this machine", found.join(", "))
    };
    vec![Check::Proxy.ok(says)]
}

/// The proxies, with whom they are for.
fn proxies(found: &[String], places: &[Place]) -> Vec<Row> {
    if found.is_empty() || places.is_empty() {
        return proxies_of(found);
    }
    let each = places.iter().map(|Place { registry, proxy, .. }| {
        Check::Proxy.ok(match proxy {
            Some(proxy) => format!("{registry} is asked through {proxy}"),
            None => format!("{registry} is asked without one"),
        })
    });
    each.collect()
}

/// The lines of a place: its name, and itself.
fn of_place(place: &Place) -> Vec<Row> {
    let Place { registry, origin, proxy, addresses, reached, .. } = place;
    let name = format!("{registry} ({origin})");
    let named = match (addresses, proxy) {
        (Ok(addresses), _) => {
            let told: Vec<String> = addresses.iter().take(SERVERS).map(ToString::to_string).collect();
            Check::Dns.ok(format!("{registry} is {}", told.join(", ")))
        }
        (Err(reason), Some(_)) => {
            Check::Dns.ok(format!("{registry} has no address here, which its proxy may know: {reason}"))
        }
        (Err(reason), None) => Check::Dns.problem(
            format!("{registry}: {reason}"),
            "is the name right? kubectl get pods --namespace=kube-system -l k8s-app=kube-dns shows the cluster's name \
             servers; hostAliases in the pod's spec names an address",
        ),
    };
    let itself = match reached {
        None => Check::Registry.not_checked(format!("{name}: it has no address"), "see the line of dns"),
        Some(Err(Trouble { says, fix })) => Check::Registry.problem(format!("{name}: {says}"), fix),
        Some(Ok(reached)) => answered(&name, reached),
    };
    vec![named, itself]
}

/// What an answer to `GET /v2/` means. Its words are not repeated: only what kind they are.
fn answered(name: &str, reached: &Reached) -> Row {
    let Reached { scheme, status, login, .. } = reached;
    let says = format!("{name} answers over {scheme} with {status}");
    let wants = match login {
        Login::No => "",
        Login::Basic => ": it wants a user name and a password",
        Login::Bearer { own: true } => ": it wants a token of its own service",
        Login::Bearer { own: false } => ": it wants a token of a service elsewhere",
        Login::Unknown => {
            let fix = "it is to offer Basic or Bearer: is it a registry, or a login page in front of one?";
            return Check::Registry.problem(format!("{says}: it wants a login that is not known here"), fix);
        }
    };
    match (status, *scheme) {
        (200 | 401, "https") => Check::Registry.ok(format!("{says}{wants}")),
        (200 | 401, _) => Check::Registry.note(
            format!("{says}{wants}; whoever is in between can read and change what is said"),
            "let the registry speak https",
        ),
        (429 | 500.., _) => Check::Registry.problem(says, "look at the registry itself, or come later"),
        _ => Check::Registry.note(
            format!("{says}, where registries have 200 or 401"),
            "is it a registry? some show the root of their API to nobody; the lookup's line counts",
        ),
    }
}

/// The difference between the clocks, by the first place that says what time it is.
fn clock(places: &[Place]) -> Option<Row> {
    let told = places.iter().find_map(|place| match &place.reached {
        Some(Ok(Reached { date: Some(theirs), .. })) => Some((&place.registry, *theirs, place.ours)),
        Some(Ok(_) | Err(_)) | None => None,
    });
    Some(match told {
        None => Check::Clock.not_checked("no registry said what time it is", "see the lines of the registry"),
        Some((registry, theirs, ours)) => {
            let (difference, side) =
                if ours > theirs { (ours - theirs, "ahead of") } else { (theirs - ours, "behind") };
            let says = format!("the clock here is {} {side} that of {registry}", about(difference));
            if difference > SKEW {
                let fix = "set the node's clock (chrony, systemd-timesyncd): tokens and certificates are refused by it";
                Check::Clock.problem(says, fix)
            } else {
                Check::Clock.ok(says)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::row::Verdict;
    use super::*;

    fn told(rows: &[Row]) -> Vec<(Verdict, &str)> {
        assert!(rows.iter().all(|row| row.fix.is_some() == (row.verdict != Verdict::Ok)), "{rows:?}");
        rows.iter().map(|row| (row.verdict, row.says.as_str())).collect()
    }

    fn place(addresses: Result<&str, &str>, proxy: Option<&str>, reached: Option<Result<Reached, Trouble>>) -> Place {
        Place {
            registry: "r.example".to_owned(),
            origin: "the image's own registry".to_owned(),
            proxy: proxy.map(str::to_owned),
            addresses: addresses.map(|address| vec![address.parse().unwrap()]).map_err(str::to_owned),
            reached,
            ours: 10_000,
        }
    }

    #[test]
    fn whoever_has_named_an_image_is_not_told_to_name_one_for_the_clock() {
        let (proxies, reason) = (Vec::new, || "no".to_owned());
        for (unasked, fix) in [
            (Unasked::NoImage { reason: reason(), fix: "do this", proxies: proxies() }, "do this"),
            (Unasked::Broken { reason: reason(), fix: "mend it", proxies: proxies() }, "see the line of the registry"),
            (Unasked::Proxy(reason()), "see the line of the proxy"),
        ] {
            let clock = unasked.rows().into_iter().find(|row| row.check == Check::Clock).unwrap();
            assert_eq!(clock.fix.as_deref(), Some(fix));
        }
    }

    fn reached(scheme: &'static str, status: u16, login: Login) -> Reached {
        Reached { scheme, status, login, date: None }
    }

    #[test]
    fn name_servers_are_told_as_the_file_has_them() {
        let kubelets = "search ci.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";
        for (text, verdict, says) in [
            (
                Ok(kubelets),
                Verdict::Ok,
                "name servers 10.96.0.10; search ci.svc.cluster.local svc.cluster.local; options ndots:5",
            ),
            (Ok("nameserver 1.1.1.1\nnameserver\tfd00::1\n"), Verdict::Ok, "name servers 1.1.1.1, fd00::1"),
            (Ok("# nameserver 1.1.1.1\n"), Verdict::Problem, "/etc/resolv.conf names no name server"),
            (Err("no such file"), Verdict::Problem, "/etc/resolv.conf cannot be read: no such file"),
        ] {
            assert_eq!(told(&[name_servers(text)]), [(verdict, says)]);
        }
    }

    #[test]
    fn an_answer_is_told_with_its_scheme_and_what_it_wants() {
        for (scheme, status, login, verdict, says) in [
            ("https", 200, Login::No, Verdict::Ok, "r answers over https with 200"),
            (
                "https",
                401,
                Login::Basic,
                Verdict::Ok,
                "r answers over https with 401: it wants a user name and a password",
            ),
            (
                "https",
                401,
                Login::Bearer { own: false },
                Verdict::Ok,
                "r answers over https with 401: it wants a token of a service elsewhere",
            ),
            (
                "http",
                401,
                Login::Bearer { own: true },
                Verdict::Note,
                "r answers over http with 401: it wants a token of its own service; whoever is in between can read and \
                 change what is said",
            ),
            (
                "https",
                401,
                Login::Unknown,
                Verdict::Problem,
                "r answers over https with 401: it wants a login that is not known here",
            ),
            ("https", 503, Login::No, Verdict::Problem, "r answers over https with 503"),
            ("https", 404, Login::No, Verdict::Note, "r answers over https with 404, where registries have 200 or 401"),
        ] {
            assert_eq!(told(&[answered("r", &reached(scheme, status, login))]), [(verdict, says)]);
        }
    }

    #[test]
    fn a_place_is_told_with_its_name_and_its_proxy() {
        let fine = || Some(Ok(reached("https", 200, Login::No)));
        let own = "r.example (the image's own registry)";
        let rows = of_place(&place(Ok("10.0.0.1"), None, fine()));
        assert_eq!(
            told(&rows),
            [
                (Verdict::Ok, "r.example is 10.0.0.1"),
                (Verdict::Ok, format!("{own} answers over https with 200").as_str())
            ]
        );
        let rows = of_place(&place(Err("no host is called r.example"), None, None));
        assert_eq!(told(&rows)[0], (Verdict::Problem, "r.example: no host is called r.example"));
        assert_eq!(told(&rows)[1], (Verdict::NotChecked, format!("{own}: it has no address").as_str()));
        // A proxy resolves for us.
        let behind = place(Err("no host is called r.example"), Some("http://p:3128 (HTTPS_PROXY)"), fine());
        assert_eq!(of_place(&behind)[0].verdict, Verdict::Ok);
        let found = ["https by http://p:3128 (HTTPS_PROXY)".to_owned()];
        let both = [behind, place(Ok("10.0.0.1"), None, fine())];
        assert_eq!(
            told(&proxies(&found, &both)),
            [
                (Verdict::Ok, "r.example is asked through http://p:3128 (HTTPS_PROXY)"),
                (Verdict::Ok, "r.example is asked without one")
            ]
        );
        assert_eq!(told(&proxies(&[], &both)), [(Verdict::Ok, "none is in force")]);
    }

    #[test]
    fn clocks_may_differ_by_five_minutes() {
        let at = |date| {
            let reached = Reached { date, ..reached("https", 401, Login::Basic) };
            let row = clock(&[place(Ok("10.0.0.1"), None, Some(Ok(reached)))]).unwrap();
            (row.verdict, row.says)
        };
        for (date, verdict, says) in [
            (Some(10_000), Verdict::Ok, "the clock here is 0 seconds behind that of r.example"),
            (Some(9_700), Verdict::Ok, "the clock here is 5 minutes ahead of that of r.example"),
            (Some(9_699), Verdict::Problem, "the clock here is 5 minutes ahead of that of r.example"),
            (Some(17_200), Verdict::Problem, "the clock here is 2 hours behind that of r.example"),
            (None, Verdict::NotChecked, "no registry said what time it is"),
        ] {
            assert_eq!(at(date), (verdict, says.to_owned()));
        }
    }
}
