//! A tenant in which two users have something of every kind, with a text in it that can be looked for.

use std::ops::ControlFlow;
use std::time::Duration;

use watertight::{Credential, Memory, RekeyProgress, TenantHandle, TenantId};

use super::seen::told;
use super::world::World;

/// Stands in everything of bob's that must go with him.
pub const CANARY: &str = "canary-5a1c9e";
/// How many memories bob has put where all can read them, and alice.
pub const SHARED: usize = 12;

pub fn id(tenant: &str) -> TenantId {
    TenantId::new(tenant).unwrap()
}

/// Lets a re-keying go on.
pub fn go_on(_: RekeyProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn memory(key: &str, text: &str, number: usize) -> Memory {
    Memory::new(key).text(text).vector(vec![1.0, number as f32, 2.0])
}

/// Provisions a tenant and lets alice and bob move in.
pub fn settle(world: &World, tenant: &str) {
    world.provision(tenant).unwrap();
    let [alice, bob] = ["alice", "bob"].map(|user| world.handle(tenant, user).unwrap());
    let notes = alice.memories("notes").unwrap();
    for number in 0..SHARED {
        notes.put(memory(&format!("alice {number}"), &format!("{tenant} alice {number} ").repeat(40), number)).unwrap();
        let text = format!("{tenant} {CANARY} {number} ").repeat(40);
        bob.memories("notes").unwrap().put(memory(&format!("bob {number}"), &text, number)).unwrap();
    }
    alice.memories("other").unwrap().put(Memory::new("k").text("other")).unwrap();
    for (handle, whose) in [(&alice, "alice"), (&bob, CANARY)] {
        let diary = handle.private("diary").unwrap();
        for number in 0..4 {
            let key = format!("{whose} {number}");
            let put = memory(&key, &format!("{tenant} {whose} {number} ").repeat(60), number);
            diary.put(put.expires_after(Duration::from_secs(9_000_000))).unwrap();
        }
        diary.delete(&format!("{whose} 3")).unwrap();
        handle.private("old").unwrap().put(Memory::new(whose).text(whose)).unwrap();
        handle.private("old").unwrap().delete_namespace().unwrap();
        diary.once(whose).unwrap().put(memory("once", whose, 9)).unwrap();
        let vault = handle.credentials();
        let secret = |version: &str| Credential::new(format!("{whose} {version}")).metadata("note", whose);
        vault.put("TOKEN", &secret("1")).unwrap();
        vault.rotate("TOKEN", &secret("2"), Duration::from_secs(86_400)).unwrap();
        vault.put("SECOND", &secret("3")).unwrap();
    }
}

/// Everything that two users see, and what they can use.
pub fn household(world: &World, tenant: &str) -> String {
    let handles = ["alice", "bob"].map(|user| world.handle(tenant, user).unwrap());
    handles.iter().map(|handle| format!("{}\n{}\n", told(handle), credentials(handle))).collect()
}

/// Without the times.
fn credentials(handle: &TenantHandle) -> String {
    let list = handle.credentials().list().unwrap();
    list.iter().map(|info| format!("{} {} {:?} {}\n", info.name, info.version, info.metadata, info.uses)).collect()
}

/// The secrets of a user. Using them leaves entries in the trail.
pub fn secrets(handle: &TenantHandle) -> Vec<String> {
    let vault = handle.credentials();
    let text = |secret: &[u8]| String::from_utf8(secret.to_vec()).unwrap();
    let current = vault.list().unwrap().into_iter().map(|info| vault.with_secret(&info.name, text).unwrap());
    current.chain(vault.with_previous("TOKEN", text)).collect()
}
