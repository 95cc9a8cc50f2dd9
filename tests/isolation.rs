//! One table: every public operation of the handles against every situation that must stop or confine it.
//!
//! The table is held against the source, so that an operation without a row does not go unnoticed.

#[path = "isolation/oracle.rs"]
mod oracle;
mod support;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use support::sim_disk::SimDisk;
use support::world::World;
use syn::visit::{self, Visit};
use watertight::{
    ApiKeySpec, ApiKeys, Attenuation, Audit, AuditAction, Authored, Credential, Credentials, Error, ErrorKind, Issuer,
    List, Memories, Memory, MemoryRecord, NamespaceSettings, NamespaceUpdate, Patch, Principal, Recall, Reembedding,
    Result, Revocation, Scopes, Selection, TenantHandle, TenantId, TenantSpec, TestClock, Timestamp, Transaction,
    UserId, VerifiedIdentity, recall_across,
};

/// A handle with the small handles it gave. Those of live handles are made, and used, before the situation arises:
/// what they remember must not carry them past the gate.
struct Hands {
    tenant: TenantHandle,
    shared: Memories,
    private: Memories,
    audit: Audit,
    credentials: Credentials,
    keys: ApiKeys,
}

impl Hands {
    fn new(tenant: TenantHandle) -> Result<Self> {
        let (shared, private) = (tenant.memories("notes")?, tenant.private("notes")?);
        let (audit, credentials, keys) = (tenant.audit(), tenant.credentials(), tenant.api_keys());
        Ok(Self { tenant, shared, private, audit, credentials, keys })
    }
}

/// What an operation answered, as text in which every returned value can be seen.
type Fingerprint = String;

fn print(answer: Result<impl Debug>) -> Result<Fingerprint> {
    answer.map(|value| format!("{value:?}"))
}

/// Vectors of another model.
fn embed(memories: &[MemoryRecord]) -> Result<Vec<Option<Vec<f32>>>> {
    Ok(vec![Some(vec![0.5; 4]); memories.len()])
}

/// There is none: whoever comes so far is told.
fn by_embedder(notes: &Memories) -> Result<String> {
    match notes.reembedding("another")?.step_by_embedder() {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(error.to_string()),
        other => other.map(|progress| format!("{progress:?}")),
    }
}

#[derive(Clone, Copy, Debug)]
enum Situation {
    Own,
    /// The same user name in another tenant, where the same namespaces and keys exist.
    OtherTenant,
    /// Another user of the same tenant, with a private namespace of the same name.
    OtherUser,
    /// Every scope but the one the operation needs.
    WithoutScope,
    Suspended,
    Expired,
    Purged,
    /// Purged and provisioned again under the same name: the handle and the identity from before.
    RecreatedOld,
    /// The same: a new identity.
    RecreatedNew,
    Closed,
}
use Situation::*;

const SITUATIONS: [Situation; 10] =
    [Own, OtherTenant, OtherUser, WithoutScope, Suspended, Expired, Purged, RecreatedOld, RecreatedNew, Closed];

#[derive(Clone, Copy, Debug)]
enum Expect {
    /// It answers, and the answer has this text.
    Says(&'static str),
    /// It is refused.
    No(ErrorKind),
}
use Expect::{No, Says};

const ABSENT: Expect = No(ErrorKind::NotFound);
const STOPPED: Expect = No(ErrorKind::Unavailable);
const EXPIRED: Expect = No(ErrorKind::Unauthenticated);

struct Row {
    /// `Type::method`, as the source has it.
    method: &'static str,
    needs: Scopes,
    changes: bool,
    run: fn(&Hands) -> Result<Fingerprint>,
    /// In the order of `SITUATIONS`.
    expected: [Expect; 10],
}

fn read(method: &'static str, run: fn(&Hands) -> Result<Fingerprint>, expected: [Expect; 10]) -> Row {
    Row { method, needs: Scopes::READ, changes: false, run, expected }
}

fn audit(method: &'static str, run: fn(&Hands) -> Result<Fingerprint>, expected: [Expect; 10]) -> Row {
    Row { method, needs: Scopes::ADMIN, changes: false, run, expected }
}

fn change(method: &'static str, needs: Scopes, run: fn(&Hands) -> Result<Fingerprint>, expected: [Expect; 10]) -> Row {
    Row { method, needs, changes: true, run, expected }
}

fn question() -> Recall {
    Recall::vector(&[1.0, 0.0, 0.0]).top(100)
}

fn new_memory(key: &str) -> Memory {
    Memory::new(key).text("new").vector(vec![0.0, 0.0, 1.0])
}

fn new_patch(key: &str) -> Patch {
    Patch::new(key, serde_json::json!({"new": true}))
}

/// Longer than any identity lasts.
const LONG: Duration = Duration::from_secs(20 * 24 * 3_600);

fn text(secret: &[u8]) -> String {
    String::from_utf8_lossy(secret).into_owned()
}

/// A handle that is good for one namespace alone.
fn narrowed(hands: &Hands) -> Result<Memories> {
    hands.tenant.attenuate(&Attenuation::new().shared("notes")?)?.memories("notes")
}

/// Makes the user the tenant's owner, by a policy of its own.
fn own(hands: &Hands) -> Result<u64> {
    let policy = hands.tenant.policy()?.assign(Principal::user(hands.tenant.user().clone()), "owner")?;
    hands.tenant.set_policy(&policy.detached_jobs(Duration::from_secs(60))?)
}

fn detached(hands: &Hands) -> Result<Memories> {
    own(hands)?;
    hands.tenant.detach(Duration::from_secs(60))?.memories("notes")
}

/// The figures of an erasure.
fn erase(hands: &Hands, user: &str) -> Result<impl Debug> {
    let user = UserId::new(Issuer::authority(), user)?;
    let done = hands.tenant.erase_user(&user, Authored::Goes, |_| ControlFlow::Continue(()))?;
    Ok((done.erased.namespaces, format!("memories: {}", done.erased.memories), done.erased.credentials))
}

/// The answer of a transaction of one step.
fn within<R>(hands: &Hands, work: impl FnOnce(&Transaction<'_>) -> Result<R>) -> Result<R> {
    hands.tenant.transact(work)
}

/// The table. `seed` makes what it speaks of.
#[rustfmt::skip]
fn table() -> Vec<Row> {
    vec![
        //                                                            own                   other tenant          other user            no scope suspended expired purged  re-created: old, new              closed
        audit("TenantHandle::usage", |h| print(h.tenant.usage()),     [Says("memories: 8"), Says("memories: 9"), Says("memories: 8"),   ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("memories: 0"), STOPPED]),
        read("Memories::get", |h| print(h.shared.get("k")),           [Says("acme shared"), Says("zoo shared"),  Says("acme shared"),   ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        read("Memories::get", |h| print(h.shared.get("only zoo")),    [ABSENT,              Says("zoo shared"),  ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        read("Memories::get", |h| print(h.private.get("k")),          [Says("acme alice"),  Says("zoo alice"),   Says("acme bob"),      ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        read("Memories::get", |h| print(h.private.get("only alice")), [Says("acme alice"),  Says("zoo alice"),   ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        read("Memories::get_many", |h| print(h.shared.get_many(&["k", "only zoo"])),
                                                                      [Says("acme shared"), Says("zoo shared"),  Says("acme shared"),   ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("[None, None]"), STOPPED]),
        read("Memories::get_many", |h| print(h.private.get_many(&["only alice"])),
                                                                      [Says("acme alice"),  Says("zoo alice"),   Says("[None]"),        ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("[None]"), STOPPED]),
        read("Memories::exists", |h| print(h.shared.exists("only zoo")),
                                                                      [Says("false"),       Says("true"),        Says("false"),         ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("false"), STOPPED]),
        read("Memories::exists", |h| print(h.private.exists("only alice")),
                                                                      [Says("true"),        Says("true"),        Says("false"),         ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("false"), STOPPED]),
        read("Memories::list", |h| print(h.shared.list(&List::new().limit(1))),
                                                                      [Says("acme shared"), Says("zoo shared"),  Says("acme shared"),   ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("memories: []"), STOPPED]),
        read("Memories::list", |h| print(h.private.list(&List::new())),
                                                                      [Says("acme alice"),  Says("zoo alice"),   Says("acme bob"),      ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("memories: []"), STOPPED]),
        read("Memories::count", |h| print(h.shared.count(&Selection::all())),
                                                                      [Says("3"),           Says("4"),           Says("3"),             ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("0"), STOPPED]),
        read("Memories::count", |h| print(h.private.count(&Selection::all())),
                                                                      [Says("3"),           Says("3"),           Says("2"),             ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("0"), STOPPED]),
        read("Memories::recall", |h| print(h.shared.recall(&question())),
                                                                      [Says("acme shared"), Says("zoo shared"),  Says("acme shared"),   ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("[]"), STOPPED]),
        read("Memories::recall", |h| print(h.private.recall(&question())),
                                                                      [Says("acme alice"),  Says("zoo alice"),   Says("acme bob"),      ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("[]"), STOPPED]),
        read("TenantHandle::namespaces", |h| print(h.tenant.namespaces()),
                                                                      [Says("private: true"), Says("private: true"), Says("private: true"), ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("[]"), STOPPED]),
        Row { method: "TenantHandle::whoami", needs: Scopes::NONE, changes: false, run: |h| print(h.tenant.whoami().map(|me| (me.tenant, me.user))), expected:
                                                                      [Says("alice"),       Says("alice"),       Says("bob"),           Says("alice"), STOPPED, EXPIRED, ABSENT, ABSENT, Says("alice"), STOPPED] },
        audit("TenantHandle::policy", |h| print(h.tenant.policy()),   [Says("version: 0"),  Says("version: 0"),  Says("version: 0"),    ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("version: 0"), STOPPED]),
        audit("TenantHandle::explain", |h| print(h.tenant.explain(Scopes::READ, Some("notes"))),
                                                                      [Says("true"),        Says("true"),        Says("true"),          ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("true"), STOPPED]),
        audit("TenantHandle::require", |h| print(h.tenant.require(Scopes::ADMIN)),
                                                                      [Says("()"),          Says("()"),          Says("()"),            ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("()"), STOPPED]),
        read("TenantHandle::attenuate", |h| print(narrowed(h).and_then(|notes| notes.get("k"))),
                                                                      [Says("acme shared"), Says("zoo shared"),  Says("acme shared"),   ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("TenantHandle::set_policy", Scopes::ADMIN, |h| print(own(h)),
                                                                      [Says("1"),           Says("1"),           Says("1"),             ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("1"), STOPPED]),
        change("TenantHandle::detach", Scopes::READ | Scopes::ADMIN, |h| print(detached(h).and_then(|notes| notes.count(&Selection::all()))),
                                                                      [Says("3"),           Says("4"),           Says("3"),             ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("0"), STOPPED]),
        read("Memories::check", |h| print(h.shared.check(Scopes::READ)),
                                                                      [Says("()"),          Says("()"),          Says("()"),            ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("()"), STOPPED]),
        read("TenantHandle::index_status", |h| print(h.tenant.index_status()),
                                                                      [Says("private: true"), Says("private: true"), Says("private: true"), ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("[]"), STOPPED]),
        read("TenantHandle::check", |h| print(h.tenant.check(Scopes::READ)),
                                                                      [Says("()"),          Says("()"),          Says("()"),            ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("()"), STOPPED]),
        audit("TenantHandle::stats", |h| print(h.tenant.stats().map(|stats| stats.waiting_changes)),
                                                                      [Says("0"),           Says("0"),           Says("0"),             ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("0"), STOPPED]),
        audit("Audit::entries", |h| print(h.audit.entries(1, 1_000)), [Says("only alice"),  Says("only zoo"),    Says("key: None"),     ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("[]"), STOPPED]),
        audit("Audit::verify", |h| print(h.audit.verify()),           [Says("entries: 13"), Says("entries: 14"), Says("entries: 13"),   ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("entries: 0"), STOPPED]),
        audit("ApiKeys::list", |h| print(h.keys.list()),              [Says("acme key"),    Says("zoo key"),     Says("acme key"),      ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("[]"), STOPPED]),
        change("ApiKeys::create", Scopes::ADMIN, |h| print(h.keys.create(&ApiKeySpec::new("new")?.scopes(h.tenant.scopes())).map(|made| made.info.label)),
                                                                      [Says("new"),         Says("new"),         Says("new"),           ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("new"), STOPPED]),
        change("ApiKeys::revoke", Scopes::ADMIN, |h| print(h.keys.list().and_then(|keys| keys.first().map_or(Ok(0), |key| h.keys.revoke(key.id).map(|()| keys.len())))),
                                                                      [Says("1"),           Says("1"),           Says("1"),             ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("0"), STOPPED]),
        read("Memories::iter", |h| print(h.shared.iter(List::new().limit(1)).collect::<Result<Vec<_>>>()),
                                                                      [Says("acme shared"), Says("zoo shared"),  Says("acme shared"),   ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("[]"), STOPPED]),
        read("Listing::next", |h| print(h.private.iter(List::new()).next().transpose()),
                                                                      [Says("acme alice"),  Says("zoo alice"),   Says("acme bob"),      ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("None"), STOPPED]),
        read("Memories::changes", |h| print(h.shared.changes(None, 1_000).map(|page| page.events)),
                                                                      [Says("acme shared"), Says("zoo shared"),  Says("acme shared"),   ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("[]"), STOPPED]),
        read("Memories::changes", |h| print(h.private.changes(None, 1_000).map(|page| page.events)),
                                                                      [Says("acme alice"),  Says("zoo alice"),   Says("acme bob"),      ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("[]"), STOPPED]),
        read("Memories::info", |h| print(h.shared.info()),            [Says("Some(3)"),     Says("Some(3)"),     Says("Some(3)"),       ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        read("Memories::info", |h| print(h.private.info()),           [Says("private: true"), Says("private: true"), Says("private: true"), ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        read("recall_across", |h| print(recall_across(&[&h.shared, &h.private], &question())),
                                                                      [Says("acme alice"),  Says("zoo alice"),   Says("acme bob"),      ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("[]"), STOPPED]),
        read("TransactionMemories::get", |h| print(within(h, |t| t.private("notes")?.get("only alice"))),
                                                                      [Says("acme alice"),  Says("zoo alice"),   ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        read("TransactionMemories::exists", |h| print(within(h, |t| t.memories("notes")?.exists("only zoo"))),
                                                                      [Says("false"),       Says("true"),        Says("false"),         ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("false"), STOPPED]),
        change("TransactionMemories::put", Scopes::WRITE, |h| print(within(h, |t| t.memories("notes")?.put(new_memory("only zoo")))),
                                                                      [Says("version: 1"),  Says("version: 2"),  Says("version: 1"),    ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("version: 1"), STOPPED]),
        change("TransactionMemories::patch", Scopes::WRITE, |h| print(within(h, |t| t.private("notes")?.patch(&new_patch("only alice")))),
                                                                      [Says("version: 2"),  Says("version: 2"),  ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("TransactionMemories::delete", Scopes::DELETE, |h| print(within(h, |t| t.memories("notes")?.delete("only zoo"))),
                                                                      [ABSENT,              Says("()"),          ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("TransactionMemories::delete_version", Scopes::DELETE, |h| print(within(h, |t| t.private("notes")?.delete_version("only alice", 1))),
                                                                      [Says("()"),          Says("()"),          ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("TransactionMemories::delete_where", Scopes::DELETE, |h| print(within(h, |t| t.private("notes")?.delete_where(&Selection::all()))),
                                                                      [Says("count: 3"),    Says("count: 3"),    Says("count: 2"),      ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("count: 0"), STOPPED]),
        change("TenantHandle::transact", Scopes::WRITE | Scopes::DELETE, |h| print(h.tenant.transact(|_| Ok(()))),
                                                                      [Says("()"),          Says("()"),          Says("()"),            ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("()"), STOPPED]),
        change("TenantHandle::transact_once", Scopes::WRITE, |h| print(h.tenant.transact_once("job", |t| t.memories("notes")?.put(new_memory("only zoo")))),
                                                                      [Says("version: 1"),  Says("version: 2"),  Says("version: 1"),    ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("version: 1"), STOPPED]),
        change("TenantHandle::sweep", Scopes::ADMIN, |h| print(h.tenant.sweep()),
                                                                      [Says("deleted: 0"),  Says("deleted: 0"),  Says("deleted: 0"),    ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("deleted: 0"), STOPPED]),
        change("TenantHandle::erase_user", Scopes::ADMIN, |h| print(erase(h, "bob")),
                                                                      [Says("memories: 2"), Says("memories: 2"), Says("memories: 2"),   ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("memories: 0"), STOPPED]),
        change("TenantHandle::erase_user", Scopes::ADMIN, |h| print(erase(h, "nobody")),
                                                                      [Says("memories: 0"), Says("memories: 0"), Says("memories: 0"),   ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("memories: 0"), STOPPED]),
        change("Memories::once", Scopes::WRITE, |h| print(h.shared.once("job").and_then(|notes| notes.put(new_memory("only zoo")))),
                                                                      [Says("version: 1"),  Says("version: 2"),  Says("version: 1"),    ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("version: 1"), STOPPED]),
        change("Memories::create", Scopes::WRITE, |h| print(h.tenant.memories("fresh")?.create(&NamespaceSettings::new())),
                                                                      [Says("fresh"),       Says("fresh"),       Says("fresh"),         ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("fresh"), STOPPED]),
        change("Memories::update", Scopes::ADMIN, |h| print(h.shared.update(&NamespaceUpdate::new().description(Some("new".into())))),
                                                                      [Says("new"),         Says("new"),         Says("new"),           ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Memories::update", Scopes::WRITE, |h| print(h.private.update(&NamespaceUpdate::new().description(Some("new".into())))),
                                                                      [Says("new"),         Says("new"),         Says("new"),           ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Memories::rename", Scopes::ADMIN, |h| print(h.shared.rename("renamed").map(|notes| notes.count(&Selection::all()).unwrap())),
                                                                      [Says("3"),           Says("4"),           Says("3"),             ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Memories::rename", Scopes::WRITE, |h| print(h.private.rename("renamed").map(|notes| notes.count(&Selection::all()).unwrap())),
                                                                      [Says("3"),           Says("3"),           Says("2"),             ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Memories::reembedding", Scopes::ADMIN, |h| print(h.shared.reembedding("another").map(drop)),
                                                                      [Says("()"),          Says("()"),          Says("()"),            ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Memories::reembedding", Scopes::WRITE, |h| print(h.private.reembedding("another").map(drop)),
                                                                      [Says("()"),          Says("()"),          Says("()"),            ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Reembedding::step", Scopes::ADMIN, |h| print(h.shared.reembedding("another").and_then(|job| job.step(embed))),
                                                                      [Says("finished: true"), Says("finished: true"), Says("finished: true"), ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Reembedding::run", Scopes::WRITE, |h| print(h.private.reembedding("another").and_then(|job| job.run(embed, |_| ControlFlow::Continue(())))),
                                                                      [Says("finished: true"), Says("finished: true"), Says("finished: true"), ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Reembedding::cancel", Scopes::ADMIN, |h| print(h.shared.reembedding("another").and_then(Reembedding::cancel)),
                                                                      [Says("()"),          Says("()"),          Says("()"),            ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Reembedding::step_by_embedder", Scopes::ADMIN, |h| print(by_embedder(&h.shared)),
                                                                      [Says("no embedder"), Says("no embedder"), Says("no embedder"),   ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Memories::delete_namespace", Scopes::ADMIN, |h| print(h.shared.delete_namespace()),
                                                                      [Says("count: 3"),    Says("count: 4"),    Says("count: 3"),      ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Memories::delete_namespace", Scopes::DELETE, |h| print(h.private.delete_namespace()),
                                                                      [Says("count: 3"),    Says("count: 3"),    Says("count: 2"),      ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Memories::put", Scopes::WRITE, |h| print(h.shared.put(new_memory("k"))),
                                                                      [Says("version: 2"),  Says("version: 2"),  Says("version: 2"),    ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("version: 1"), STOPPED]),
        change("Memories::put", Scopes::WRITE, |h| print(h.shared.put(new_memory("only zoo"))),
                                                                      [Says("version: 1"),  Says("version: 2"),  Says("version: 1"),    ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("version: 1"), STOPPED]),
        change("Memories::put", Scopes::WRITE, |h| print(h.private.put(new_memory("only alice"))),
                                                                      [Says("version: 2"),  Says("version: 2"),  Says("version: 1"),    ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("version: 1"), STOPPED]),
        change("Memories::put_many", Scopes::WRITE, |h| print(h.shared.put_many(vec![new_memory("k"), new_memory("only zoo")])),
                                                                      [Says("version: 1"),  Says("version: 2"),  Says("version: 1"),    ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("version: 1"), STOPPED]),
        change("Memories::put_many", Scopes::WRITE, |h| print(h.private.put_many(vec![new_memory("only alice")])),
                                                                      [Says("version: 2"),  Says("version: 2"),  Says("version: 1"),    ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("version: 1"), STOPPED]),
        change("Memories::patch", Scopes::WRITE, |h| print(h.shared.patch(&new_patch("k"))),
                                                                      [Says("version: 2"),  Says("version: 2"),  Says("version: 2"),    ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Memories::patch", Scopes::WRITE, |h| print(h.private.patch(&new_patch("only alice"))),
                                                                      [Says("version: 2"),  Says("version: 2"),  ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Memories::delete_version", Scopes::DELETE, |h| print(h.shared.delete_version("only zoo", 1)),
                                                                      [ABSENT,              Says("()"),          ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Memories::delete_where", Scopes::DELETE, |h| print(h.shared.delete_where(&Selection::all())),
                                                                      [Says("count: 3"),    Says("count: 4"),    Says("count: 3"),      ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("count: 0"), STOPPED]),
        change("Memories::delete_where", Scopes::DELETE, |h| print(h.private.delete_where(&Selection::all())),
                                                                      [Says("count: 3"),    Says("count: 3"),    Says("count: 2"),      ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("count: 0"), STOPPED]),
        change("Memories::delete", Scopes::DELETE, |h| print(h.shared.delete("k")),
                                                                      [Says("()"),          Says("()"),          Says("()"),            ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Memories::delete", Scopes::DELETE, |h| print(h.shared.delete("only zoo")),
                                                                      [ABSENT,              Says("()"),          ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Memories::delete", Scopes::DELETE, |h| print(h.private.delete("only alice")),
                                                                      [Says("()"),          Says("()"),          ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        read("Credentials::list", |h| print(h.credentials.list()),    [Says("ONLY_ALICE"),  Says("ONLY_ALICE"),  Says("TOKEN"),         ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("[]"), STOPPED]),
        change("Credentials::put", Scopes::WRITE, |h| print(h.credentials.put("TOKEN", &Credential::new("new"))),
                                                                      [Says("2"),           Says("2"),           Says("2"),             ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("1"), STOPPED]),
        change("Credentials::rotate", Scopes::WRITE, |h| print(h.credentials.rotate("ONLY_ALICE", &Credential::new("new"), LONG)),
                                                                      [Says("3"),           Says("3"),           ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Credentials::confirm", Scopes::WRITE, |h| print(h.credentials.confirm("ONLY_ALICE")),
                                                                      [Says("true"),        Says("true"),        ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Credentials::with_secret", Scopes::READ, |h| print(h.credentials.with_secret("TOKEN", text)),
                                                                      [Says("acme alice"),  Says("zoo alice"),   Says("acme bob"),      ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Credentials::with_secret", Scopes::READ, |h| print(h.credentials.with_secret("ONLY_ALICE", text)),
                                                                      [Says("acme alice"),  Says("zoo alice"),   ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Credentials::with_previous", Scopes::READ, |h| print(h.credentials.with_previous("ONLY_ALICE", text)),
                                                                      [Says("acme alice"),  Says("zoo alice"),   ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Credentials::resolve", Scopes::READ, |h| print(h.credentials.resolve("<${{ user.credentials.ONLY_ALICE }}>").map(|text| text.expose().to_owned())),
                                                                      [Says("<acme alice"), Says("<zoo alice"),  ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Credentials::resolve", Scopes::READ, |h| print(h.credentials.resolve("nothing").map(|text| text.expose().to_owned())),
                                                                      [Says("nothing"),     Says("nothing"),     Says("nothing"),       ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("nothing"), STOPPED]),
        change("Credentials::resolve_env", Scopes::READ, |h| print(h.credentials.resolve_env([("A", "${{ user.credentials.TOKEN }}")]).map(|all| all["A"].expose().to_owned())),
                                                                      [Says("acme alice"),  Says("zoo alice"),   Says("acme bob"),      ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        change("Credentials::delete", Scopes::DELETE, |h| print(h.credentials.delete("ONLY_ALICE")),
                                                                      [Says("()"),          Says("()"),          ABSENT,                ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, ABSENT, STOPPED]),
        // The last: it ends the handle that runs it.
        change("TenantHandle::revoke", Scopes::ADMIN, |h| print(h.tenant.revoke(&Revocation::subject(h.tenant.user()))),
                                                                      [Says("()"),          Says("()"),          Says("()"),            ABSENT, STOPPED, EXPIRED, ABSENT, ABSENT, Says("()"), STOPPED]),
    ]
}

/// Handles move into threads and tasks.
#[test]
fn handles_are_send_sync_and_owned() {
    fn moves<T: Clone + Send + Sync + 'static>() {}
    moves::<watertight::Engine>();
    moves::<TenantHandle>();
    moves::<Memories>();
    moves::<Audit>();
    moves::<Credentials>();
    moves::<ApiKeys>();
    moves::<VerifiedIdentity>();
}

/// Public methods of the handles that need no row, and why.
const NO_OPERATION: [(&str, &str); 16] = [
    ("TenantHandle::api_keys", "only names the keys"),
    ("TenantHandle::withdraw", "takes away what the caller holds, and answers nothing"),
    ("TenantHandle::credentials", "only names the credentials"),
    ("Transaction::memories", "only names a namespace, which need not exist"),
    ("Transaction::private", "only names a namespace, which need not exist"),
    ("Transaction::abort", "gives an error and does nothing"),
    ("Engine::tenant", "the way in: every situation goes through it"),
    ("Engine::tenant_as", "another way in, by the same code; tests/memberships.rs"),
    ("TenantHandle::id", "names the tenant of the caller's own identity"),
    ("TenantHandle::user", "names the user of the caller's own identity"),
    ("TenantHandle::scopes", "what the caller's own identity was given"),
    ("TenantHandle::memories", "only names a namespace, which need not exist"),
    ("TenantHandle::private", "only names a namespace, which need not exist"),
    ("TenantHandle::audit", "only names the trail"),
    ("Memories::namespace", "what the caller named"),
    ("Memories::is_private", "what the caller named"),
];

struct Scene {
    world: World,
    clock: Arc<TestClock>,
}

impl Scene {
    /// Two tenants with two users each and the same namespaces and keys; the texts say whose they are.
    fn new() -> Self {
        let clock = TestClock::at(Timestamp::from_seconds(1_800_000_000));
        let world = World::with_clock(Path::new("/data"), Arc::new(SimDisk::new(1)), clock.clone()).unwrap();
        let scene = Self { world, clock };
        for tenant in ["acme", "zoo"] {
            scene.world.provision(tenant).unwrap();
            scene.seed(tenant);
        }
        scene
    }

    fn seed(&self, tenant: &str) {
        let (alice, bob) = (self.hands(tenant, "alice"), self.hands(tenant, "bob"));
        let put = |memories: &Memories, whose: &str, keys: &[&str]| {
            for (at, key) in (1_u8..).zip(keys) {
                let memory = Memory::new(*key).text(format!("{tenant} {whose}"));
                memories.put(memory.vector(vec![1.0, f32::from(at), 0.0])).unwrap();
            }
        };
        let only_zoo = if tenant == "zoo" { &["only zoo"][..] } else { &[] };
        put(&alice.shared, "shared", &["k", "l", "m"]);
        put(&alice.shared, "shared", only_zoo);
        put(&alice.private, "alice", &["k", "l", "only alice"]);
        put(&bob.private, "bob", &["k", "l"]);
        let secret = |whose: &str| Credential::new(format!("{tenant} {whose}"));
        alice.credentials.put("TOKEN", &secret("alice")).unwrap();
        alice.credentials.put("ONLY_ALICE", &secret("alice before")).unwrap();
        alice.credentials.rotate("ONLY_ALICE", &secret("alice"), LONG).unwrap();
        bob.credentials.put("TOKEN", &secret("bob")).unwrap();
        alice.keys.create(&ApiKeySpec::new(&format!("{tenant} key")).unwrap().scopes(Scopes::READ)).unwrap();
    }

    fn hands(&self, tenant: &str, user: &str) -> Hands {
        Hands::new(self.world.handle(tenant, user).unwrap()).unwrap()
    }

    fn identity(&self) -> VerifiedIdentity {
        self.world.identity("acme", "alice", Scopes::ALL)
    }

    fn enter(&self, identity: &VerifiedIdentity) -> Result<Hands> {
        self.world.engine.tenant(identity).and_then(Hands::new)
    }

    fn purge(&self, tenant: &str) {
        self.world.operator().purge(&TenantId::new(tenant).unwrap()).unwrap();
    }

    /// Everything that can be read of a tenant, byte for byte.
    fn everything(&self, tenant: &str) -> Vec<Fingerprint> {
        self.answers(tenant, |_| true)
    }

    /// The same without the trail, which tells what was refused.
    fn everything_but_the_trail(&self, tenant: &str) -> Vec<Fingerprint> {
        self.answers(tenant, |row| !row.method.starts_with("Audit::"))
    }

    fn answers(&self, tenant: &str, of: fn(&Row) -> bool) -> Vec<Fingerprint> {
        let mut found = Vec::new();
        for user in ["alice", "bob"] {
            let hands = self.hands(tenant, user);
            found.extend(table().iter().filter(|row| !row.changes && of(row)).map(|row| match (row.run)(&hands) {
                Ok(answer) => answer,
                Err(error) => format!("{error:?}"),
            }));
        }
        found
    }

    /// Brings the situation about and gives every door that the caller may try.
    fn doors(&self, situation: Situation, needs: Scopes) -> Vec<Result<Hands>> {
        let identity = self.identity();
        let live = self.enter(&identity).unwrap();
        for row in table().iter().filter(|row| !row.changes) {
            // Fills every cache that a small handle has.
            let _ = (row.run)(&live);
        }
        let acme = TenantId::new("acme").unwrap();
        match situation {
            Own => vec![Ok(live)],
            OtherTenant => vec![Ok(self.hands("zoo", "alice"))],
            OtherUser => vec![Ok(self.hands("acme", "bob"))],
            WithoutScope => {
                let rest = [Scopes::READ, Scopes::WRITE, Scopes::DELETE, Scopes::ADMIN];
                let rest =
                    rest.into_iter().filter(|scope| !needs.contains(*scope)).fold(Scopes::NONE, |all, one| all | one);
                [rest, Scopes::NONE].map(|scopes| self.enter(&self.world.identity("acme", "alice", scopes))).into()
            }
            Suspended => {
                self.world.operator().suspend(&acme).unwrap();
                vec![Ok(live), self.enter(&identity), self.enter(&self.identity())]
            }
            Expired => {
                self.clock.set(identity.expires_at());
                vec![Ok(live), self.enter(&identity)]
            }
            Purged => {
                self.purge("acme");
                vec![Ok(live), self.enter(&identity), self.enter(&self.identity())]
            }
            RecreatedOld => {
                self.purge("acme");
                self.world.provision("acme").unwrap();
                let doors = vec![Ok(live), self.enter(&identity)];
                self.seed("acme");
                doors
            }
            RecreatedNew => {
                self.purge("acme");
                self.world.provision("acme").unwrap();
                vec![self.enter(&self.identity())]
            }
            Closed => {
                self.world.engine.close().unwrap();
                vec![Ok(live), self.enter(&identity)]
            }
        }
    }
}

/// Texts of others that no answer in this situation may have.
fn foreign(situation: Situation) -> &'static [&'static str] {
    match situation {
        OtherTenant => &["acme", "zoo bob"],
        OtherUser => &["zoo", "acme alice"],
        _ => &["zoo", "acme bob"],
    }
}

fn run_column(situation: Situation) {
    for row in table() {
        let scene = Scene::new();
        let before = scene.everything_but_the_trail("acme");
        let trail = scene.hands("acme", "alice").audit.verify().unwrap().entries;
        for door in scene.doors(situation, row.needs) {
            let answer = door.and_then(|hands| (row.run)(&hands));
            let place = || format!("{} in {situation:?}: {answer:?}", row.method);
            match (row.expected[situation as usize], &answer) {
                (Says(text), Ok(said)) => assert!(said.contains(text), "no {text:?} from {}", place()),
                (No(kind), Err(error)) => assert_eq!(error.kind(), kind, "{}", place()),
                (expected, _) => panic!("{expected:?} expected from {}", place()),
            }
            let said = match &answer {
                Ok(said) => said.clone(),
                Err(error) => format!("{error} {error:?}"),
            };
            for text in foreign(situation) {
                assert!(!said.contains(text), "{text:?} of another in {}", place());
            }
        }
        // What was refused has changed nothing.
        if let Suspended = situation {
            scene.world.operator().resume(&TenantId::new("acme").unwrap()).unwrap();
        }
        if let WithoutScope | Suspended | Expired = situation {
            assert_eq!(scene.everything_but_the_trail("acme"), before, "{} in {situation:?}", row.method);
            let entries = scene.hands("acme", "alice").audit.entries(trail + 1, 1_000).unwrap();
            let refused = |action| matches!(situation, WithoutScope) && action == AuditAction::Attempt;
            assert!(entries.iter().all(|entry| refused(entry.action)), "{} in {situation:?}: {entries:?}", row.method);
        }
    }
}

macro_rules! columns {
    ($($name:ident: $($situation:ident),+;)*) => {$(
        #[test]
        fn $name() {
            for situation in [$($situation),+] {
                run_column(situation);
            }
        }
    )*
        #[test]
        fn every_situation_is_run() {
            let run = [$($($situation as usize),+),*];
            assert_eq!(run.to_vec(), SITUATIONS.map(|situation| situation as usize).to_vec());
        }
    };
}
columns! {
    each_tenant_and_user_sees_its_own: Own, OtherTenant, OtherUser;
    without_its_scope_an_operation_finds_nothing: WithoutScope;
    a_suspended_tenant_serves_nothing: Suspended;
    an_expired_identity_does_nothing: Expired;
    a_purged_tenant_is_gone: Purged;
    a_tenant_created_again_is_another_one: RecreatedOld, RecreatedNew;
    a_closed_engine_serves_nothing: Closed;
}

/// Everything another tenant can do that might show elsewhere. `round` makes different changes each time.
fn heavy_changes(scene: &Scene, round: usize) {
    let (alice, bob) = (scene.hands("zoo", "alice"), scene.hands("zoo", "bob"));
    for number in 0..40 {
        let key = format!("key {round} {number}");
        // Nearer to the question than anything of acme.
        let memory = || Memory::new(&key).text("zoo".repeat(number * 50)).vector(vec![1.0, 0.0, number as f32 / 1e6]);
        alice.shared.put(memory()).unwrap();
        bob.private.put(memory()).unwrap();
        if number % 3 == 0 {
            alice.shared.delete(&key).unwrap();
        }
        alice.tenant.memories(&format!("namespace-{number}")).unwrap().put(Memory::new("k")).unwrap();
    }
    let _ = alice.shared.delete("k");
    alice.shared.recall(&question()).unwrap();
    let zoo = TenantId::new("zoo").unwrap();
    scene.world.operator().suspend(&zoo).unwrap();
    scene.world.operator().resume(&zoo).unwrap();
    scene.world.operator().rekey(&zoo, |_| ControlFlow::Continue(())).unwrap();
    scene.purge("zoo");
    scene.world.provision("zoo").unwrap();
    scene.seed("zoo");
}

#[test]
fn nothing_read_in_one_tenant_depends_on_another() {
    let scene = Scene::new();
    let before = scene.everything("acme");
    for round in 0..2 {
        heavy_changes(&scene, round);
        assert_eq!(scene.everything("acme"), before);
    }
    scene.purge("zoo");
    assert_eq!(scene.everything("acme"), before);
}

#[test]
fn nothing_read_in_one_tenant_depends_on_another_while_that_changes() {
    let scene = Scene::new();
    let before = scene.everything("acme");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| heavy_changes(&scene, 0));
        while !writer.is_finished() {
            assert_eq!(scene.everything("acme"), before);
        }
    });
    assert_eq!(scene.everything("acme"), before);
}

#[test]
fn no_change_in_one_tenant_shows_in_another() {
    let scene = Scene::new();
    let before = scene.everything("zoo");
    let acme = scene.hands("acme", "alice");
    for row in table().iter().filter(|row| row.changes) {
        let _ = (row.run)(&acme);
        assert_eq!(scene.everything("zoo"), before, "{}", row.method);
    }
    let id = TenantId::new("acme").unwrap();
    scene.world.operator().suspend(&id).unwrap();
    assert_eq!(scene.everything("zoo"), before);
    scene.world.operator().rekey(&id, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(scene.everything("zoo"), before);
    scene.purge("acme");
    assert_eq!(scene.everything("zoo"), before);
}

#[test]
fn no_change_in_a_private_namespace_shows_in_another_users() {
    let scene = Scene::new();
    let private = |hands: &Hands| {
        let list = print(hands.private.list(&List::new())).unwrap();
        (list, print(hands.private.recall(&question())).unwrap(), print(hands.private.get("k")).unwrap())
    };
    let (alice, bob) = (scene.hands("acme", "alice"), scene.hands("acme", "bob"));
    let before = private(&alice);
    for number in 0..20 {
        bob.private.put(Memory::new(format!("{number}")).vector(vec![1.0, 0.0, 0.0])).unwrap();
    }
    bob.private.delete("k").unwrap();
    bob.private.put(Memory::new("l").text("changed")).unwrap();
    bob.shared.put(Memory::new("k").text("changed")).unwrap();
    assert_eq!(private(&alice), before);
}

#[test]
fn foreign_absent_and_forbidden_are_one_error() {
    let scene = Scene::new();
    let alice = scene.hands("acme", "alice");
    let nobody = Hands::new(scene.world.engine.tenant(&scene.world.identity("acme", "carol", Scopes::NONE)).unwrap());
    let nobody = nobody.unwrap();
    let elsewhere = alice.tenant.memories("elsewhere").unwrap();
    type Try<'a> = &'a dyn Fn(&Memories, &str) -> Result<()>;
    let get: Try<'_> = &|memories, key| memories.get(key).map(|_| ());
    let delete: Try<'_> = &|memories, key| memories.delete(key);
    let bobs_own = "l";
    scene.hands("acme", "alice").private.delete(bobs_own).unwrap();
    for run in [get, delete] {
        let errors: Vec<Error> = [
            ("absent", run(&alice.shared, "no such key")),
            ("another tenant's", run(&alice.shared, "only zoo")),
            ("another user's", run(&alice.private, bobs_own)),
            ("private, asked for in shared", run(&alice.shared, "only alice")),
            ("no such namespace", run(&elsewhere, "k")),
            ("forbidden and there", run(&nobody.shared, "k")),
            ("forbidden and absent", run(&nobody.shared, "no such key")),
        ]
        .into_iter()
        .map(|(what, answer)| answer.expect_err(what))
        .collect();
        for error in &errors {
            assert_eq!(error, &errors[0]);
            assert_eq!(error.to_string(), "not found");
            assert_eq!((error.kind(), error.retry_after()), (ErrorKind::NotFound, None));
        }
    }
}

#[test]
fn tenants_that_are_absent_foreign_or_from_before_are_one_error() {
    let scene = Scene::new();
    let from_before = scene.identity();
    scene.purge("acme");
    scene.world.provision("acme").unwrap();
    let other = TenantSpec::new("theirs").unwrap().trusts(Issuer::new("https://login.example.org/").unwrap());
    scene.world.operator().provision(other).unwrap();
    let nobodys = TenantSpec::new("nobodys").unwrap();
    scene.world.operator().provision(nobodys).unwrap();
    let absent = scene.world.handle("absent", "alice").unwrap_err();
    assert_eq!(absent.to_string(), "not found");
    for (what, answer) in [
        ("trusts another issuer", scene.world.handle("theirs", "alice")),
        ("trusts nobody", scene.world.handle("nobodys", "alice")),
        ("an identity from before", scene.world.engine.tenant(&from_before)),
    ] {
        assert_eq!(answer.expect_err(what), absent, "{what}");
    }
}

/// The public methods of the handles, and what the source hides from this test.
#[derive(Default)]
struct Surface {
    in_handles: bool,
    types: BTreeSet<String>,
    methods: BTreeSet<String>,
    traits: BTreeSet<String>,
    macros: usize,
}

impl<'ast> Visit<'ast> for Surface {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        if self.in_handles && matches!(item.vis, syn::Visibility::Public(_)) {
            self.types.insert(item.ident.to_string());
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if self.in_handles && matches!(item.vis, syn::Visibility::Public(_)) {
            self.methods.insert(item.sig.ident.to_string());
        }
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        self.macros += usize::from(self.in_handles);
        visit::visit_item_macro(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let syn::Type::Path(path) = &*item.self_ty else { return };
        let name = path.path.segments.last().unwrap().ident.to_string();
        if !self.in_handles && !self.types.contains(&name) {
            return;
        }
        if let Some((_, path, _)) = &item.trait_ {
            match path.segments.last().unwrap().ident.to_string().as_str() {
                "Debug" | "FusedIterator" => {}
                "Iterator" => drop(self.methods.insert(format!("{name}::next"))),
                other => drop(self.traits.insert(format!("{other} for {name}"))),
            }
            return;
        }
        for part in &item.items {
            match part {
                syn::ImplItem::Fn(method) if matches!(method.vis, syn::Visibility::Public(_)) => {
                    self.methods.insert(format!("{name}::{}", method.sig.ident));
                }
                syn::ImplItem::Macro(_) => self.macros += 1,
                _ => {}
            }
        }
    }
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_public_method_of_a_handle_has_a_row_or_a_reason() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let handles = source.join("handle");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    let mut surface = Surface::default();
    // The handles' own folder first: it names the types whose impl blocks are then looked for everywhere.
    files.sort_by_key(|path| !path.starts_with(&handles));
    for path in &files {
        surface.in_handles = path.starts_with(&handles);
        surface.visit_file(&syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap());
    }
    assert!(surface.types.contains("TenantHandle") && surface.methods.contains("Memories::put"), "nothing was read");
    assert_eq!(surface.macros, 0, "a macro may make methods that this test does not see");
    assert!(surface.traits.is_empty(), "methods of {:?} need rows, which this test does not look for", surface.traits);

    let rows: BTreeSet<_> = table().iter().map(|row| row.method.to_owned()).collect();
    let excused: BTreeSet<_> = NO_OPERATION.iter().map(|(method, _)| (*method).to_owned()).collect();
    assert_eq!(excused.len(), NO_OPERATION.len(), "an excuse is given twice");
    assert!(NO_OPERATION.iter().all(|(_, reason)| !reason.is_empty()));
    let both: Vec<_> = rows.intersection(&excused).collect();
    assert!(both.is_empty(), "{both:?} have rows and excuses");
    let listed: BTreeSet<_> = rows.union(&excused).cloned().collect();
    let missing: Vec<_> = surface.methods.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:?} have no row in the table");
    let stale: Vec<_> = listed.difference(&surface.methods).collect();
    assert!(stale.is_empty(), "{stale:?} are not in the source any more");
}
