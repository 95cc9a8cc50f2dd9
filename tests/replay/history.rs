//! A directory with ten rounds of history, and one of its files as it was after each round.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use watertight::{ApiKeySpec, Credential, Issuer, Memory, Principal, Revocation, Role, Scopes, Selection, UserId};

use crate::support::filled::{DATA, Rng, files_of};
use crate::support::sim_disk::SimDisk;
use crate::support::world::World;

pub(crate) const ROUNDS: usize = 10;
const SLOT: usize = 4_608;
const DATA_AT: usize = 16_384;

/// Which file is put back, slot by slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Tenant,
    Catalog,
}

/// One file of a closed engine, now and as it was after each of its rounds.
pub(crate) struct History {
    /// Everything as it was after the last round.
    pub(crate) disk: SimDisk,
    pub(crate) target: PathBuf,
    pub(crate) rounds: Vec<Vec<u8>>,
}

/// Some slots as they were after a round, among all others as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) round: usize,
    pub(crate) slots: Vec<usize>,
}

/// Puts `rows` memories with texts of `text_bytes` in each round, beside everything else that a tenant can hold.
pub(crate) fn history(target: Target, rows: usize, text_bytes: usize) -> History {
    let disk = SimDisk::new(rows as u64);
    let world = World::open(Path::new(DATA), Arc::new(disk.clone())).unwrap();
    for tenant in ["acme", "zoo"] {
        world.provision(tenant).unwrap();
    }
    world.handle("zoo", "alice").unwrap().memories("notes").unwrap().put(Memory::new("z")).unwrap();
    let path = match target {
        Target::Tenant => files_of(&world, "acme").0,
        Target::Catalog => Path::new(DATA).join("catalog.redb"),
    };
    world.engine.close().unwrap();
    drop(world);
    let rounds = (0..ROUNDS).map(|round| {
        let world = World::open(Path::new(DATA), Arc::new(disk.clone())).unwrap();
        one_round(&world, round, rows, text_bytes);
        world.engine.close().unwrap();
        drop(world);
        disk.bytes(&path).unwrap()
    });
    let rounds = rounds.collect();
    History { disk, target: path, rounds }
}

/// The changes of a round: of rows, of what a user may do, and of what an operator decides.
fn one_round(world: &World, round: usize, rows: usize, text_bytes: usize) {
    let alice = world.handle("acme", "alice").unwrap();
    let notes = alice.memories("notes").unwrap();
    let diary = alice.private("diary").unwrap();
    for (at, row) in (0..rows).enumerate() {
        let text = format!("round {round} {}", "x".repeat(text_bytes));
        notes.put(Memory::new(format!("k{row}")).text(text).vector(vec![1.0, at as f32])).unwrap();
        if row % 4 == 0 && row < 40 {
            diary.put(Memory::new(format!("k{row}")).content(json!({ "round": round }))).unwrap();
        }
    }
    if round % 3 == 2 {
        notes.delete_where(&Selection::all().key_prefix("k1")).unwrap();
    }
    alice.credentials().put("TOKEN", &Credential::new(format!("secret {round}"))).unwrap();
    let role = Role::new(&format!("role-{round}")).unwrap().permissions(Scopes::READ);
    let policy = alice.policy().unwrap().assign(Principal::user(alice.user().clone()), "owner").unwrap();
    alice.set_policy(&policy.role(role).unwrap()).unwrap();
    let left = UserId::new(Issuer::authority(), &format!("user-{round}")).unwrap();
    let operator = world.operator();
    let [acme, zoo] = ["acme", "zoo"].map(|tenant| watertight::TenantId::new(tenant).unwrap());
    operator.revoke(&acme, &Revocation::subject(&left)).unwrap();
    if round.is_multiple_of(2) { operator.suspend(&zoo) } else { operator.resume(&zoo) }.unwrap();
    let key = alice.api_keys().create(&ApiKeySpec::new("key").unwrap().scopes(Scopes::READ)).unwrap();
    if round > 0 {
        alice.api_keys().revoke(key.info.id).unwrap();
    }
}

impl History {
    fn slots(&self) -> usize {
        let last = self.rounds.last().unwrap();
        2 + (last.len() - DATA_AT) / SLOT
    }

    /// The slots that a round had otherwise than they are now. 0 and 1 are the header copies.
    pub(crate) fn changed(&self, round: usize) -> Vec<usize> {
        let (before, now) = (&self.rounds[round], self.rounds.last().unwrap());
        let differs = |slot: usize| {
            let range = range(slot);
            let Some(before) = before.get(range.clone()) else { return false };
            before != &now[range] && before.iter().any(|byte| *byte != 0)
        };
        (0..self.slots()).filter(|slot| differs(*slot)).collect()
    }

    /// Every slot that ever was otherwise, as it was after each round that had it so.
    pub(crate) fn singles(&self) -> Vec<Replay> {
        let mut seen = BTreeSet::new();
        let mut all = Vec::new();
        for round in (0..ROUNDS - 1).rev() {
            for slot in self.changed(round) {
                // Rounds between which it did not change give the same file.
                if seen.insert((slot, self.rounds[round][range(slot)].to_vec())) {
                    all.push(Replay { round, slots: vec![slot] });
                }
            }
        }
        all
    }

    /// Every two slots as they were after one of `rounds`.
    pub(crate) fn pairs(&self, rounds: &[usize]) -> Vec<Replay> {
        let mut all = Vec::new();
        for round in rounds.iter().copied() {
            let changed = self.changed(round);
            for (at, first) in changed.iter().enumerate() {
                all.extend(changed[at + 1..].iter().map(|second| Replay { round, slots: vec![*first, *second] }));
            }
        }
        all
    }

    /// A third of all slots that a round had otherwise, drawn anew each time, without the header copies and with both.
    pub(crate) fn thirds(&self, each: usize) -> Vec<Replay> {
        let mut rng = Rng(each as u64);
        let mut all = Vec::new();
        for round in (0..ROUNDS - 1).flat_map(|round| std::iter::repeat_n(round, each)) {
            let slots: Vec<_> = self.changed(round).into_iter().filter(|slot| *slot > 1 && rng.below(3) == 0).collect();
            all.push(Replay { round, slots: [&[0, 1], slots.as_slice()].concat() });
            all.push(Replay { round, slots });
        }
        all
    }

    /// The disk with a replay in it.
    pub(crate) fn with(&self, replay: &Replay) -> SimDisk {
        let mut bytes = self.rounds.last().unwrap().clone();
        for slot in &replay.slots {
            bytes[range(*slot)].copy_from_slice(&self.rounds[replay.round][range(*slot)]);
        }
        let disk = self.disk.kill();
        disk.set_bytes(&self.target, bytes);
        disk
    }

    /// The disk with the target as it was after a round.
    pub(crate) fn as_of(&self, round: usize) -> SimDisk {
        let disk = self.disk.kill();
        disk.set_bytes(&self.target, self.rounds[round].clone());
        disk
    }

    /// For a child process.
    pub(crate) fn save(&self, directory: &Path) {
        let files = self.disk.files();
        let names: Vec<_> = files.iter().map(|path| path.to_str().unwrap()).collect();
        fs::write(directory.join("names"), names.join("\n")).unwrap();
        for (at, path) in files.iter().enumerate() {
            fs::write(directory.join(format!("file-{at}")), self.disk.bytes(path).unwrap()).unwrap();
        }
        fs::write(directory.join("target"), self.target.to_str().unwrap()).unwrap();
        for (at, round) in self.rounds.iter().enumerate() {
            fs::write(directory.join(format!("round-{at}")), round).unwrap();
        }
    }

    pub(crate) fn load(directory: &Path) -> Self {
        let read = |name: &str| fs::read(directory.join(name)).unwrap();
        let text = |name: &str| String::from_utf8(read(name)).unwrap();
        let disk = SimDisk::new(1);
        for (at, path) in text("names").lines().enumerate() {
            disk.set_bytes(path, read(&format!("file-{at}")));
        }
        let rounds = (0..ROUNDS).map(|round| read(&format!("round-{round}"))).collect();
        Self { disk, target: text("target").into(), rounds }
    }
}

fn range(slot: usize) -> std::ops::Range<usize> {
    let start = if slot < 2 { slot * 8_192 } else { DATA_AT + (slot - 2) * SLOT };
    start..start + SLOT
}
