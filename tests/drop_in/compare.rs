//! Where an answer differs, and whether it is meant to.

use std::collections::BTreeSet;

use crate::scenario::{Answer, Difference, NONE, Scenario};

/// What is wrong with our answer: every part that differs from Tekton's and should not, and every decision of the scenario
/// that is none, or that changes nothing any more.
pub fn faults(scenario: &Scenario, ours: &Answer, decided: &dyn Fn(&str) -> bool) -> Vec<String> {
    let Some(tekton) = &scenario.tekton else {
        return vec!["no answer of Tekton's is recorded: TEKTON_ENTRYPOINT=/path RECORD=1".to_owned()];
    };
    let mut faults = Vec::new();
    let mut expected = tekton.clone();
    for Difference { decisions, parts, .. } in &scenario.ours {
        let missing = decisions.iter().filter(|decision| !decided(decision));
        faults.extend(missing.map(|decision| format!("there is no decision docs/adr/{decision}")));
        let decision = decisions.join(" ");
        if decisions.is_empty() {
            faults.push("a difference without a decision".to_owned());
        }
        if parts.0.is_empty() {
            faults.push(format!("{decision} changes nothing"));
        }
        for (name, part) in &parts.0 {
            if tekton.part(name) == *part {
                faults.push(format!("{decision}: no difference (any more): {name}{part}"));
            }
            if part.trim() == NONE {
                expected.0.remove(name);
            } else {
                expected.0.insert(name.clone(), part.clone());
            }
        }
    }
    let different = different(&expected, ours);
    if !different.is_empty() {
        faults.push(format!("-- expected\n{}-- got\n{}", expected.only(&different), ours.only(&different)));
    }
    faults
}

/// What is wrong with a recorded answer: the same program answers otherwise now.
pub fn changed(recorded: &Answer, live: &Answer) -> Option<String> {
    let different = different(recorded, live);
    (!different.is_empty()).then(|| {
        format!("Tekton's answer changed\n-- recorded\n{}-- live\n{}", recorded.only(&different), live.only(&different))
    })
}

fn different(one: &Answer, other: &Answer) -> BTreeSet<String> {
    one.0.keys().chain(other.0.keys()).filter(|name| one.0.get(*name) != other.0.get(*name)).cloned().collect()
}

#[test]
fn only_a_difference_that_is_decided_is_no_fault() {
    let answer = |parts: &[(&str, &str)]| {
        Answer(parts.iter().map(|(name, part)| ((*name).to_owned(), format!(" {part}"))).collect())
    };
    let tekton = answer(&[("exit", "0"), ("stderr", ":x"), ("/a", "644")]);
    let scenario = |decision: &str, parts: &[(&str, &str)]| {
        let text = format!("# u\n\n== n\nrun\n-- ours {decision}\n{}", answer(parts).text());
        let mut scenario = crate::scenario::Section::parse(&text, "u").unwrap().scenarios.remove(0);
        scenario.tekton = Some(tekton.clone());
        scenario
    };
    let decided = |decision: &str| decision == "0001.md";
    let count = |decision: &str, parts: &[(&str, &str)], ours: &[(&str, &str)]| {
        faults(&scenario(decision, parts), &answer(ours), &decided).len()
    };
    let ours = [("exit", "1"), ("stderr", ":x"), ("/b", "644")];
    let all = [("exit", "1"), ("/a", "none"), ("/b", "644")];
    assert_eq!(count("0001.md", &all, &ours), 0);
    assert_eq!(count("0002.md", &all, &ours), 1, "no decision");
    assert_eq!(count("0001.md", &all[..2], &ours), 1, "one more difference");
    assert_eq!(count("0001.md", &[("stderr", ":x"), all[0], all[1], all[2]], &ours), 1, "no difference");
    assert_eq!(count("0001.md", &all, &[("exit", "2"), ours[1], ours[2]]), 1, "another difference");
    assert_eq!(count("0001.md", &[], &[("exit", "0"), ours[1], ("/a", "644")]), 1, "nothing decided");
    assert!(changed(&tekton, &tekton).is_none() && changed(&tekton, &answer(&ours)).is_some());
}
