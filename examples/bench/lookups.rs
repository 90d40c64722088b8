//! The rows of the lookup: `run-image` of `/bin/true` beside `crane config`, each as a whole process, in turn.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::oci::architecture;
use crate::process::{Result, take};
use crate::registry::{Documents, INDEX, Login, Registry, SINGLE, docker_config, reference};
use crate::relay::Relay;
use crate::rows::{Bench, SETTLED, median, median_of_peer};
use crate::steps;
use crate::table::{Row, Target};
use crate::tls::{Authority, LOOPBACK};

const ROUND_TRIP: Duration = Duration::from_millis(20);
/// What a connection takes before it can be asked anything: TCP one, TLS 1.3 one.
const ROUND_TRIPS_OF_CONNECTION: u32 = 2;

/// A registry and an image there.
struct Case {
    what: &'static str,
    login: Login,
    tag: &'static str,
    /// What a lookup has to ask.
    requests: u32,
    /// Of crane's wall time at a distance: it asks one more, unless there is a token to get.
    ratio: f64,
}

const CASES: [Case; 6] = [
    Case { what: "anonymous", login: Login::Anonymous, tag: SINGLE, requests: 2, ratio: 0.8 },
    Case { what: "anonymous, index", login: Login::Anonymous, tag: INDEX, requests: 3, ratio: 0.85 },
    Case { what: "Basic", login: Login::Basic, tag: SINGLE, requests: 2, ratio: 0.8 },
    Case { what: "Basic, index", login: Login::Basic, tag: INDEX, requests: 3, ratio: 0.85 },
    Case { what: "Bearer", login: Login::Bearer, tag: SINGLE, requests: 4, ratio: 1.0 },
    Case { what: "Bearer, index", login: Login::Bearer, tag: INDEX, requests: 5, ratio: 1.0 },
];

/// How a registry is reached.
struct Way {
    host: String,
    /// The authority that signed its certificate; plain http without one.
    authority: Option<PathBuf>,
    /// The directory of docker's `config.json`.
    docker_config: PathBuf,
}

impl Way {
    fn new(dir: &Path, host: String, login: Login, authority: Option<PathBuf>) -> Result<Self> {
        let docker_config = dir.join(host.replace(':', "-"));
        fs::create_dir_all(&docker_config)?;
        if login != Login::Anonymous {
            fs::write(docker_config.join("config.json"), self::docker_config(&host))?;
        }
        Ok(Self { host, authority, docker_config })
    }

    /// Ours: the lookup, then `/bin/true` in the same process.
    fn ours(&self, bench: &Bench, tag: &str) -> Command {
        let mut command = Command::new(&bench.entrypoint);
        command.arg("run-image").arg(reference(&self.host, tag));
        match &self.authority {
            Some(authority) => {
                command.arg("-image_registry_certificate").arg(format!("{}={}", self.host, authority.display()))
            }
            None => command.arg("-image_insecure_registry").arg(&self.host),
        };
        command.arg("--");
        self.bare(command)
    }

    /// The peer's, if it is to be measured.
    fn crane(&self, bench: &Bench, tag: &str) -> Option<Command> {
        let mut command = Command::new(bench.crane.as_ref()?);
        command.arg("config").arg(reference(&self.host, tag)).arg(format!("--platform=linux/{}", architecture()));
        match &self.authority {
            Some(authority) => command.env("SSL_CERT_FILE", authority),
            None => command.arg("--insecure"),
        };
        Some(self.bare(command))
    }

    /// Nothing of this machine's own settings: no cluster, no proxy, no other credential.
    fn bare(&self, command: Command) -> Command {
        let mut bare = Command::new(command.get_program());
        bare.args(command.get_args())
            .env_clear()
            .env("PATH", "/bin:/usr/bin")
            .env("DOCKER_CONFIG", &self.docker_config);
        bare.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        bare.stdin(Stdio::null()).stdout(Stdio::null());
        bare
    }

    /// The most memory that a process of the command had at once, MB.
    fn peak(&self, bench: &Bench, command: &Command) -> Result<f64> {
        let mut peak = Command::new(&bench.this);
        peak.arg("peak").arg(command.get_program()).args(command.get_args());
        peak.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = self.bare(peak).stdout(Stdio::piped()).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("{command:?}: {}", output.status).into());
        }
        let kilobytes: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
        Ok(kilobytes * 1024.0 / 1e6)
    }
}

/// Anonymous and plain, next door.
pub fn on_loopback(bench: &Bench) -> Result<Vec<Row>> {
    let dir = bench.dir("lookup")?;
    let documents = Documents::of_image(&dir.join("image"), &["/bin/true"])?;
    let registry = Registry::start(Arc::new(documents), Login::Anonymous, None)?;
    let way = Way::new(&dir, registry.address().to_string(), Login::Anonymous, None)?;
    let mut rows = Vec::new();
    for (what, tag) in [("single image", SINGLE), ("index", INDEX)] {
        let [mut wall, mut cpu, mut peak] = [(); 3].map(|()| (Vec::new(), Vec::new()));
        for _ in 0..bench.runs(100) {
            let took = take(&mut way.ours(bench, tag))?;
            wall.0.push(took.wall);
            cpu.0.push(took.cpu);
            if let Some(mut crane) = way.crane(bench, tag) {
                let took = take(&mut crane)?;
                wall.1.push(took.wall);
                cpu.1.push(took.cpu);
            }
        }
        for _ in 0..bench.runs(5) {
            peak.0.push(way.peak(bench, &way.ours(bench, tag))?);
            if let Some(crane) = way.crane(bench, tag) {
                peak.1.push(way.peak(bench, &crane)?);
            }
        }
        let targets = [
            ("wall", "ms", wall, Target::ratio(0.8)),
            ("cpu", "ms", cpu, Target::ratio(0.8)),
            ("peak memory of its largest process", "MB", peak, Target::goal(25.0)),
        ];
        for (number, unit, (ours, theirs), target) in targets {
            let what = format!("lookup on loopback, {what}: {number}, median");
            rows.push(Row::shown(what, unit, median(ours)?).beside(median_of_peer(theirs)?).target(target));
        }
    }
    Ok(rows)
}

/// Over TLS, 20 ms away.
pub fn far_away(bench: &Bench) -> Result<Vec<Row>> {
    let world = World::new(bench, "far")?;
    let mut rows = Vec::new();
    for case in &CASES {
        let registry = world.registry(case.login)?;
        let relay = Relay::to(registry.address(), ROUND_TRIP)?;
        let way = Way::new(&world.dir, relay.host(), case.login, Some(world.authority.clone()))?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..bench.runs(20) {
            ours.push(take(&mut way.ours(bench, case.tag))?.wall);
            if let Some(mut crane) = way.crane(bench, case.tag) {
                theirs.push(take(&mut crane)?.wall);
            }
        }
        let round_trips = ROUND_TRIPS_OF_CONNECTION + case.requests;
        let least = (ROUND_TRIP * round_trips).as_millis();
        let what = format!(
            "lookup, 20 ms per round trip, TLS, {}: wall, median ({round_trips} round trips: at least {least} ms)",
            case.what
        );
        let row = Row::shown(what, "ms", median(ours)?).beside(median_of_peer(theirs)?);
        rows.push(row.target(Target::ratio(case.ratio)));
        // What no other needs more for.
        if case.login == Login::Bearer && case.tag == INDEX {
            let ours = way.peak(bench, &way.ours(bench, case.tag))?;
            let theirs = way.crane(bench, case.tag).map(|crane| way.peak(bench, &crane)).transpose()?;
            let what = format!("lookup, TLS, {}: peak memory of its largest process", case.what);
            rows.push(Row::shown(what, "MB", ours).beside(theirs).target(Target::goal(25.0)));
        }
    }
    Ok(rows)
}

/// What a lookup adds to a step that had to wait anyway: the hand-off with it minus the hand-off without, in turn.
pub fn beside_wait(bench: &Bench) -> Result<Vec<Row>> {
    let base = bench.dir("beside-wait")?;
    let clock = bench.this.display().to_string();
    let documents = Documents::of_image(&base.join("image"), &[&clock])?;
    let registry = Registry::start(Arc::new(documents), Login::Anonymous, None)?;
    let host = registry.address().to_string();
    let given = ["-entrypoint".to_owned(), clock];
    let looked_up = ["-image", &reference(&host, SINGLE), "-image_insecure_registry", &host].map(str::to_owned);
    // Longer than any lookup on loopback: the file comes when its answer is there.
    let settled = SETTLED * 3;
    let mut added = Vec::new();
    for number in 0..bench.runs(100) {
        let without = steps::one(&base, number * 2, &bench.entrypoint, &given, settled)?;
        let with = steps::one(&base, number * 2 + 1, &bench.entrypoint, &looked_up, settled)?;
        added.push(with - without);
    }
    let what = "added by a lookup to a step that had to wait anyway, median";
    Ok(vec![Row::shown(what, "ms", median(added)?).target(Target::goal(1.0))])
}

/// How much a registry is asked for one lookup.
pub fn requests(bench: &Bench) -> Result<Vec<Row>> {
    let world = World::new(bench, "requests")?;
    let mut rows = Vec::new();
    for case in &CASES {
        let registry = world.registry(case.login)?;
        let host = registry.address().to_string();
        let way = Way::new(&world.dir, host, case.login, Some(world.authority.clone()))?;
        let count = |mut command: Command| -> Result<f64> {
            let before = registry.requests();
            take(&mut command)?;
            Ok(f64::from(u32::try_from(registry.requests() - before)?))
        };
        let ours = count(way.ours(bench, case.tag))?;
        let theirs = way.crane(bench, case.tag).map(count).transpose()?;
        let target = Target::exactly(f64::from(case.requests));
        rows.push(Row::shown(format!("requests of a lookup, {}", case.what), "", ours).beside(theirs).target(target));
    }
    Ok(rows)
}

/// An image and a certificate, for registries over TLS.
struct World {
    dir: PathBuf,
    documents: Arc<Documents>,
    issuer: Authority,
    authority: PathBuf,
}

impl World {
    fn new(bench: &Bench, name: &str) -> Result<Self> {
        let dir = bench.dir(name)?;
        let documents = Arc::new(Documents::of_image(&dir.join("image"), &["/bin/true"])?);
        let issuer = Authority::new("benchmark authority");
        let authority = issuer.write(&dir);
        Ok(Self { dir, documents, issuer, authority })
    }

    fn registry(&self, login: Login) -> Result<Registry> {
        Registry::start(Arc::clone(&self.documents), login, Some(self.issuer.server(LOOPBACK)))
    }
}
