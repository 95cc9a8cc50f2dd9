//! What an engine says of everything that a replay could make it say wrongly.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use watertight::{Credential, ErrorKind, List, Memories, Memory, Recall, Result, Scopes, Selection, TenantId};

use crate::history::Target;
use crate::support::sim_disk::SimDisk;
use crate::support::world::World;

/// Question -> answer, or the kind of the error.
pub(crate) type Answers = BTreeMap<&'static str, Result<String, ErrorKind>>;

/// What came of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Some operation answered that the file is damaged, and none answered anything wrong.
    Refused,
    /// Everything was answered as if nothing had been put back: the old slots are not part of the present state.
    NeverRead,
    /// Everything was answered as it was after one round: the file as a whole looks like the past.
    OneMoment,
    /// Old and new answers side by side, without an error that says so.
    Mixed,
    /// The other tenant noticed.
    OtherTenant,
    /// The process ended, or never did. Told by whoever waits for it.
    Died,
}

/// Opens the disk and asks. `None` when the engine refused to open.
pub(crate) fn ask(disk: &SimDisk, target: Target) -> Option<(Answers, World)> {
    let world = World::open(Path::new(crate::support::filled::DATA), Arc::new(disk.clone())).ok()?;
    let mut answers = Answers::new();
    match target {
        Target::Tenant => ask_tenant(&world, &mut answers),
        Target::Catalog => ask_catalog(&world, &mut answers),
    }
    Some((answers, world))
}

fn ask_tenant(world: &World, answers: &mut Answers) {
    let alice = match world.handle("acme", "alice") {
        Ok(alice) => alice,
        Err(error) => return drop(answers.insert("open", Err(error.kind()))),
    };
    let mut note = |question, answer: Result<String>| {
        answers.insert(question, answer.map_err(|error| error.kind()));
    };
    let [notes, diary] = [alice.memories("notes").unwrap(), alice.private("diary").unwrap()];
    note("list", list(&notes));
    note("diary", list(&diary));
    // A row that is not there is an answer; only other errors are errors.
    let versions = (0..40).map(|row| match notes.get(&format!("k{row}")) {
        Ok(memory) => Ok(Some((memory.version, memory.text))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    });
    note("get", versions.collect::<Result<Vec<_>>>().map(text));
    let recall = Recall::vector(&[1.0, 3.0]).top(1_000);
    note("recall", notes.recall(&recall).map(|hits| text(hits.iter().map(|hit| &hit.memory.key).collect::<Vec<_>>())));
    let feed = notes.changes(None, 1_000);
    note("feed", feed.map(|page| text(page.events.iter().map(|event| format!("{event:?}")).collect::<Vec<_>>())));
    note("policy", alice.policy().map(|policy| text((policy.version(), policy.roles().count()))));
    note("usage", alice.usage().map(text));
    note("namespaces", alice.namespaces().map(text));
    note("trail", alice.audit().verify().map(|head| text(head.entries)));
    note(
        "credentials",
        alice.credentials().list().map(|all| text(all.iter().map(|info| info.version).collect::<Vec<_>>())),
    );
    let secret = alice.credentials().with_secret("TOKEN", |secret| String::from_utf8_lossy(secret).into_owned());
    note("secret", secret);
}

fn ask_catalog(world: &World, answers: &mut Answers) {
    let operator = world.operator();
    let mut note = |question, answer: Result<String>| {
        answers.insert(question, answer.map_err(|error| error.kind()));
    };
    let [acme, zoo] = ["acme", "zoo"].map(|tenant| TenantId::new(tenant).unwrap());
    note("acme", operator.inspect(&acme).map(text));
    note("zoo", operator.inspect(&zoo).map(text));
    note("tenants", operator.list(None, 100).map(text));
    note("trail", operator.verify_audit().map(|head| text(head.entries)));
    note("keys", world.handle("acme", "alice").and_then(|alice| alice.api_keys().list()).map(|keys| text(keys.len())));
    note("handle", world.handle("zoo", "alice").map(|_| "open".to_owned()));
}

/// Writes, so that redb meets what it did not read before; then closes. Errors are fine, a panic or worse is not.
pub(crate) fn write(world: World, target: Target) {
    if let Ok(alice) = world.handle("acme", "alice") {
        let notes = alice.memories("notes").unwrap();
        for row in 0..30 {
            let memory = Memory::new(format!("w{row}")).text("x".repeat(320)).vector(vec![1.0, 0.5]);
            if notes.put(memory).is_err() {
                break;
            }
        }
        let _ = notes.delete_where(&Selection::all());
        let _ = alice.credentials().put("NEXT", &Credential::new("next"));
        let _ = alice.audit().verify();
    }
    if target == Target::Catalog {
        let _ = world.provision("third");
        let zoo = TenantId::new("zoo").unwrap();
        let _ = world.operator().suspend(&zoo).and_then(|()| world.operator().resume(&zoo));
        let _ = world.operator().purge(&zoo);
    }
    let _ = world.engine.close();
}

/// Whether the tenant whose file nobody touched answers as ever.
pub(crate) fn other_is_well(world: &World) -> bool {
    let zoo = TenantId::new("zoo").unwrap();
    world.operator().resume(&zoo).is_ok()
        && world
            .engine
            .tenant(&world.identity("zoo", "alice", Scopes::ALL))
            .and_then(|alice| alice.memories("notes")?.count(&Selection::all()))
            .is_ok_and(|count| count == 1)
}

/// What the answers of a replay amount to, beside those of now and those of each round.
pub(crate) fn judge(answers: &Answers, now: &Answers, rounds: &[Answers]) -> Outcome {
    let gave = |as_of: &Answers| {
        answers.iter().all(|(question, answer)| answer.is_err() || as_of.get(question) == Some(answer))
    };
    let failed = answers.values().any(Result::is_err);
    match (gave(now), failed) {
        (true, true) => Outcome::Refused,
        (true, false) => Outcome::NeverRead,
        (false, _) if rounds.iter().any(gave) => Outcome::OneMoment,
        (false, _) => Outcome::Mixed,
    }
}

fn list(memories: &Memories) -> Result<String> {
    let page = memories.list(&List::new().limit(1_000))?;
    Ok(text(page.memories.iter().map(|memory| (&memory.key, memory.version, &memory.text)).collect::<Vec<_>>()))
}

fn text(answer: impl Debug) -> String {
    format!("{answer:?}")
}
