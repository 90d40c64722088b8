//! Connections that are cut, slow, corrupt or out of order, at every byte of a lookup.

#[path = "wires/origin.rs"]
mod origin;
#[path = "wires/sweep.rs"]
mod sweep;
#[path = "wires/wire.rs"]
mod wire;
#[path = "wires/world.rs"]
mod world;

use origin::{Connections, Login};
use sweep::{faults, sweep};
use wire::{Harm, Often, Way, Weather};
use world::{Came, Kind, Over, Patient, World};

/// Three requests, to a registry that shows everybody everything.
const PLAIN: Kind = Kind { over: Over::Plain, login: Login::Nobody, connections: Connections::Kept };
const TLS: Kind = Kind { over: Over::Tls, ..PLAIN };

/// The other logins and ways with connections, of which every so many'th byte is tried.
const OTHERS: &[(Kind, usize)] = &[
    (Kind { connections: Connections::Closed, ..PLAIN }, 8),
    (Kind { login: Login::Basic, ..PLAIN }, 8),
    (Kind { login: Login::Bearer, ..PLAIN }, 4),
    (Kind { login: Login::Bearer, connections: Connections::Closed, ..PLAIN }, 8),
    (Kind { connections: Connections::Closed, ..TLS }, 16),
    (Kind { login: Login::Basic, ..TLS }, 16),
    (Kind { login: Login::Bearer, ..TLS }, 16),
    (Kind { login: Login::Bearer, connections: Connections::Closed, ..TLS }, 16),
];

const CUTS: &[(Harm, Often)] = &[
    (Harm::Closed, Often::Once),
    (Harm::Reset, Often::Once),
    (Harm::Closed, Often::Always),
    (Harm::Reset, Often::Always),
];


fn show(name: &str, harms: &[(Harm, Often)], patient: Patient, ways: &[Way], kinds: &[(Kind, usize)]) {
    for (kind, step) in kinds {
        for way in ways {
            let wrong = std::sync::Mutex::new(std::collections::BTreeMap::<String, Vec<_>>::new());
            let start = std::time::Instant::now();
            let tally = sweep(*kind, patient, &faults(*kind, *way, *step, harms), |fault, came| {
                if let Came::Told(told) = came {
                    assert!(fault.often == Often::Always || !CUTS.iter().any(|(harm,_)| *harm == fault.harm));
                    let told = told.split("127.0.0.1:").collect::<Vec<_>>().join("H");
                    wrong.lock().unwrap().entry(format!("{:?} {}", fault.often, told.chars().filter(|c| !c.is_ascii_digit()).collect::<String>())).or_default().push((fault.at, fault.harm));
                }
            });
            eprintln!("{name}: {kind:?} {way:?} every {step}: {tally} {:?}", start.elapsed());
            for (told, at) in wrong.into_inner().unwrap() {
                eprintln!("    {told}: {} {:?}", at.len(), at.iter().take(6).collect::<Vec<_>>());
            }
        }
    }
}

const BOTH: &[Way] = &[Way::Asked, Way::Answered];

#[test]
fn a_cut_is_mended_by_asking_again() {
    show("cut", CUTS, Patient::Yes, BOTH, &[(PLAIN, 1)]);
    show("cut", CUTS, Patient::Yes, BOTH, &[(TLS, 2)]);
}

#[test]
fn a_cut_is_mended_by_asking_again_others() {
    show("cut", CUTS, Patient::Yes, BOTH, OTHERS);
}

const CORRUPT: &[(Harm, Often)] = &[
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

#[test]
fn corrupt() {
    let soon = Patient::For(400);
    show("corrupt", CORRUPT, soon, &[Way::Answered], &[(PLAIN, 1)]);
    show("corrupt", CORRUPT, soon, &[Way::Answered], &[(TLS, 2)]);
    show("corrupt", CORRUPT, soon, &[Way::Answered], OTHERS);
}
