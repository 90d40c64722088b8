//! Connections that are cut, slow, corrupt or out of order, at every byte of a lookup.
//!
//! `FAULTS_ALL=1` lifts the sampling: docs/faults.md has what was tried with it. Each test prints what it tried.

#[path = "wires/framing.rs"]
mod framing;
#[path = "wires/origin.rs"]
mod origin;
#[path = "wires/steps.rs"]
mod steps;
#[path = "wires/sweep.rs"]
mod sweep;
#[path = "wires/wire.rs"]
mod wire;
#[path = "wires/world.rs"]
mod world;

use origin::{Connections, Documents, Login};
use sweep::{Fine, Sample, Tally, sweep};
use wire::{Fault, Harm, Often, Way, Weather, Wire};
use world::{Came, Kind, Over, Patient, World};

/// Three requests, to a registry that shows everybody everything.
const PLAIN: Kind = Kind { over: Over::Plain, login: Login::Nobody, connections: Connections::Kept };
const TLS: Kind = Kind { over: Over::Tls, ..PLAIN };

/// What every byte is tried of over plain http, and every fourth in TLS.
const FIRST: &[Sample] = &[Sample { kind: PLAIN, every: 1, each: true }, Sample { kind: TLS, every: 4, each: true }];

/// The other logins, and connections for one request.
const OTHERS: &[Sample] = &[
    others(Kind { connections: Connections::Closed, ..PLAIN }, 16),
    others(Kind { login: Login::Basic, ..PLAIN }, 16),
    others(Kind { login: Login::Bearer, ..PLAIN }, 8),
    others(Kind { login: Login::Bearer, connections: Connections::Closed, ..PLAIN }, 16),
    others(Kind { connections: Connections::Closed, ..TLS }, 32),
    others(Kind { login: Login::Basic, ..TLS }, 32),
    others(Kind { login: Login::Bearer, ..TLS }, 32),
    others(Kind { login: Login::Bearer, connections: Connections::Closed, ..TLS }, 32),
];

const fn others(kind: Kind, every: usize) -> Sample {
    Sample { kind, every, each: false }
}

const BOTH: &[Way] = &[Way::Asked, Way::Answered];
/// Silence that is waited for where it comes about, and not taken for one on a busy machine.
const SOON: Patient = Patient::For(500);

const CUTS: &[(Harm, Often)] = &[
    (Harm::Closed, Often::Once),
    (Harm::Reset, Often::Once),
    (Harm::Closed, Often::Always),
    (Harm::Reset, Often::Always),
];

const CORRUPTIONS: &[(Harm, Often)] = &[
    (Harm::Flipped(1), Often::Once),
    (Harm::Flipped(0x80), Often::Once),
    (Harm::Replaced(0x1b), Often::Once),
    (Harm::Replaced(b'\n'), Often::Once),
    (Harm::Lost, Often::Once),
    (Harm::Doubled, Often::Once),
    (Harm::Swapped(1), Often::Once),
    (Harm::Swapped(8), Often::Once),
    (Harm::Flipped(1), Often::Always),
    (Harm::Lost, Often::Always),
];

fn tried(
    name: &str,
    samples: &[Sample],
    ways: &[Way],
    harms: &[(Harm, Often)],
    patient: Patient,
    judge: fn(&Fault, &Came),
) {
    for over in [Over::Plain, Over::Tls] {
        let mut tally = Tally::default();
        for sample in samples.iter().filter(|sample| sample.kind.over == over) {
            for way in ways {
                tally += sweep(sample.kind, patient, &sample.faults(*way, harms), judge);
            }
        }
        eprintln!("{name}, {over:?}: {tally}");
        assert!(tally.tried > 0);
    }
}

/// What is cut once is asked for again; a wire that is cut always at the same byte may be too much.
fn mended(fault: &Fault, came: &Came) {
    match came {
        Came::Right => {}
        Came::Told(sentence) if fault.often == Often::Once => panic!("{fault:?}: {sentence}"),
        Came::Told(sentence) => {
            let cause = "the connection was closed before the answer was complete";
            assert!(sentence.ends_with(cause), "{fault:?}: {sentence}");
        }
    }
}

/// The right command, or one sentence: that is looked at wherever there is one.
fn told(_: &Fault, _: &Came) {}

fn silence(fault: &Fault, came: &Came) {
    if let Came::Told(sentence) = came {
        assert!(sentence.ends_with(": no answer in time"), "{fault:?}: {sentence}");
    }
}

#[test]
fn a_connection_that_is_cut_at_any_byte_is_mended_by_asking_again() {
    tried("cut, no login", FIRST, BOTH, CUTS, Patient::Yes, mended);
}

#[test]
fn a_connection_that_is_cut_in_a_login_is_mended_by_asking_again() {
    tried("cut, others", OTHERS, BOTH, CUTS, Patient::Yes, mended);
}

#[test]
fn a_corrupt_answer_gives_no_other_command() {
    tried("corrupt, no login", FIRST, &[Way::Answered], CORRUPTIONS, SOON, told);
}

#[test]
fn a_corrupt_answer_in_a_login_gives_no_other_command() {
    tried("corrupt, others", OTHERS, &[Way::Answered], CORRUPTIONS, SOON, told);
}

#[test]
fn a_broken_handshake_is_not_taken_for_a_registry_of_plain_http() {
    // Of the first record: not its type and its length, by which others are told from TLS.
    let bytes = [1, 2].into_iter().chain(5..100);
    let world = World::new(Kind { login: Login::Basic, ..TLS }, SOON);
    let harms = [Harm::Flipped(1), Harm::Flipped(0x80), Harm::Replaced(b'\n')];
    for (at, harm) in bytes.flat_map(|at| harms.map(|harm| (at, harm))) {
        let fault = Fault { way: Way::Answered, at, harm, often: Often::Once };
        let (came, trip) = world.lookup(Weather::Harm(fault));
        // Nobody looks at the last byte of the version, and one in 256 random bytes is what it is replaced by.
        assert!(came != Came::Right || at == 2 || !trip.harmed(), "{fault:?}: {came:?}");
        assert!(!format!("{came:?}").contains("does not speak"), "{fault:?}: {came:?}");
        let asked = trip.sent(Way::Asked);
        assert!(!String::from_utf8_lossy(&asked).contains("GET /"), "{fault:?}: asked without TLS");
    }
}

#[test]
fn a_corrupt_request_gives_no_other_command() {
    let every = |sample: &Sample| Sample { every: sample.every * 4, each: false, ..*sample };
    let samples: Vec<_> = FIRST.iter().map(every).collect();
    tried("corrupt requests", &samples, &[Way::Asked], CORRUPTIONS, SOON, told);
}

#[test]
fn silence_at_any_byte_is_given_up_and_told() {
    let sample = |kind| Sample { kind, every: 16, each: false };
    tried("silence", &[sample(PLAIN), sample(TLS)], BOTH, &[(Harm::Silence, Often::Once)], SOON, silence);
}

#[test]
fn a_lookup_that_comes_byte_by_byte_is_none_the_worse() {
    let samples: Vec<_> = FIRST.iter().chain(OTHERS).collect();
    std::thread::scope(|scope| {
        for sample in &samples {
            scope.spawn(|| {
                let (came, trip) = World::new(sample.kind, Patient::Yes).lookup(Weather::Dribble);
                assert_eq!(came, Came::Right, "{:?}", sample.kind);
                assert!(!trip.sent(Way::Answered).is_empty());
            });
        }
    });
    eprintln!("byte by byte: tried {}: the right command {}", samples.len(), samples.len());
}

/// The other half of a pair of images, with another command.
fn other() -> Documents {
    Documents::saying("other")
}

#[test]
fn answers_that_change_places_give_no_other_command() {
    let documents = Documents::new();
    let mut paths: Vec<String> = documents.paths().into();
    // A tag is whatever the registry says, so a digest says what is meant.
    paths[0] = documents.index.manifest_path();
    paths.push("/token".to_owned());
    paths.extend(other().paths().into_iter().skip(1));
    let mut count = Tally::default();
    for over in [Over::Plain, Over::Tls] {
        for (one, first) in paths.iter().enumerate() {
            for second in &paths[one + 1..] {
                let (documents, login) =
                    (documents.clone(), if over == Over::Plain { Login::Bearer } else { Login::Nobody });
                let exchanged = [first.clone(), second.clone()];
                let kind = Kind { over, login, connections: Connections::Kept };
                let world = World::saying(kind, SOON, Wire::new, move |kind, realm, asked| {
                    let path = match exchanged.iter().position(|path| *path == asked.path) {
                        Some(which) => exchanged[1 - which].clone(),
                        None => asked.path.clone(),
                    };
                    let asked = asked.at(path);
                    let said = documents.answer(kind.login, kind.scheme(), realm, &asked);
                    let other = other().answer(kind.login, kind.scheme(), realm, &asked);
                    if said.status == 404 { other.framed(kind.connections) } else { said.framed(kind.connections) }
                });
                count.add(&world.came(&world.image_of(&Documents::new().index.digest()), "right"));
            }
        }
    }
    eprintln!("answers that change places: {count}");
    assert!(count.told > 0);
}

#[test]
fn answers_to_somebody_else_give_no_other_command() {
    let mut count = Tally::default();
    for over in [Over::Plain, Over::Tls] {
        let kind = Kind { over, ..PLAIN };
        for _ in 0..8 {
            let world = World::saying(kind, SOON, Wire::crossed, |kind, realm, asked| {
                let [right, other] = [Documents::new(), other()]
                    .map(|documents| documents.answer(kind.login, kind.scheme(), realm, asked));
                if right.status == 404 { other.framed(kind.connections) } else { right.framed(kind.connections) }
            });
            let two = std::thread::scope(|scope| {
                let world = &world;
                let ask = |documents: Documents, word: &'static str| {
                    // A tag over plain http is whatever the answer says; so a digest says which is meant.
                    let reference = world.image_of(&documents.index.digest());
                    scope.spawn(move || world.came(&reference, word))
                };
                [ask(Documents::new(), "right"), ask(other(), "other")].map(|one| one.join().expect("a lookup"))
            });
            for came in &two {
                assert!(matches!(came, Came::Told(_)), "{over:?}: {two:?}");
                count.add(came);
            }
        }
    }
    eprintln!("answers to somebody else: {count}");
}

#[test]
fn nothing_happens_to_a_lookup_in_fine_weather() {
    for sample in FIRST.iter().chain(OTHERS) {
        let fine = Fine::of(&World::new(sample.kind, Patient::Yes));
        eprintln!("{:?}: {} bytes asked, {} answered", sample.kind, fine.asked.len(), fine.answered.len());
    }
}
