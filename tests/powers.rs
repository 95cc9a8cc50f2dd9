//! What decides who may do what at a tenant outlives the handle that decided it. So it takes a handle of a user's full
//! power, and this table has every operation against every kind of handle.

mod support;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::sim_disk::SimDisk;
use support::world::World;
use watertight::{
    Action, ApiKeySpec, Attenuation, AuditAction, AuditOutcome, Authored, Credential, ErrorKind, Impersonation, Issuer,
    List, Memories, Memory, MemoryRecord, NamespaceSettings, NamespaceUpdate, Patch, Principal, Reason, Recall,
    Reembedding, Refusal, Result, Revocation, Scopes, Selection, SystemClock, TenantHandle, TenantId, UserId,
    recall_across,
};

const HOUR: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Of alice, an owner.
    Whole,
    /// Hers, for less time and fewer operations, with every scope.
    Narrowed,
    /// An operator's who acts for her, with every scope.
    Impersonating,
    /// A background job's of hers.
    Detached,
    /// An API key's of every scope.
    ApiKey,
}
use Kind::*;

const KINDS: [Kind; 5] = [Whole, Narrowed, Impersonating, Detached, ApiKey];

/// Content, and what looks and leaves nothing.
const ALL: &[Kind] = &KINDS;
/// What takes away from others what they may do: it takes a whole handle, or a key that somebody gave this power.
const REVOKES: &[Kind] = &[Whole, ApiKey];
/// What gives others what they may do: a stolen key must not leave anything behind either.
const GRANTS: &[Kind] = &[Whole];
/// No operator has a user's secrets.
const SECRETS: &[Kind] = &[Whole, Narrowed, Detached, ApiKey];
/// Once, and not by an operator.
const DETACHES: &[Kind] = &[Whole, Narrowed, ApiKey];

type Row = (&'static str, &'static [Kind], fn(&TenantHandle) -> Result<()>);

fn user(name: &str) -> UserId {
    UserId::new(Issuer::authority(), name).unwrap()
}

fn notes(handle: &TenantHandle) -> Result<Memories> {
    handle.memories("notes")
}

fn new(key: &str) -> Memory {
    Memory::new(key).text("new").vector(vec![0.0, 1.0])
}

fn embed(memories: &[MemoryRecord]) -> Result<Vec<Option<Vec<f32>>>> {
    Ok(vec![Some(vec![0.5; 4]); memories.len()])
}

fn reembedding(handle: &TenantHandle) -> Result<Reembedding> {
    notes(handle)?.reembedding("another")
}

/// Who is allowed comes as far as the lack of an embedder.
fn by_embedder(handle: &TenantHandle) -> Result<()> {
    match reembedding(handle)?.step_by_embedder() {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        other => other.map(drop),
    }
}

fn put_secret(handle: &TenantHandle) -> Result<()> {
    handle.credentials().put("T", &Credential::new("old"))?;
    handle.credentials().rotate("T", &Credential::new("new"), HOUR).map(drop)
}

#[rustfmt::skip]
fn table() -> Vec<Row> {
    vec![
        ("TenantHandle::set_policy", GRANTS, |h| h.set_policy(&h.policy()?.assign(Principal::user(user("eve")), "admin")?).map(drop)),
        ("ApiKeys::create", GRANTS, |h| h.api_keys().create(&ApiKeySpec::new("new")?).map(drop)),
        ("ApiKeys::revoke", REVOKES, |h| h.api_keys().revoke(h.api_keys().list()?[0].id)),
        ("TenantHandle::revoke", REVOKES, |h| h.revoke(&Revocation::subject(&user("bob")))),
        ("TenantHandle::erase_user", REVOKES, |h| h.erase_user(&user("bob"), Authored::Goes, |_| ControlFlow::Continue(())).map(drop)),
        ("TenantHandle::detach", DETACHES, |h| h.detach(HOUR).map(drop)),
        ("Credentials::list", SECRETS, |h| h.credentials().list().map(drop)),
        ("Credentials::put", SECRETS, |h| h.credentials().put("T", &Credential::new("secret")).map(drop)),
        ("Credentials::rotate", SECRETS, put_secret),
        ("Credentials::confirm", SECRETS, |h| { put_secret(h)?; h.credentials().confirm("T").map(drop) }),
        ("Credentials::with_secret", SECRETS, |h| { put_secret(h)?; h.credentials().with_secret("T", |_| ()) }),
        ("Credentials::with_previous", SECRETS, |h| { put_secret(h)?; h.credentials().with_previous("T", |_| ()) }),
        ("Credentials::resolve", SECRETS, |h| h.credentials().resolve("nothing").map(drop)),
        ("Credentials::resolve_env", SECRETS, |h| h.credentials().resolve_env([("A", "nothing")]).map(drop)),
        ("Credentials::delete", SECRETS, |h| { put_secret(h)?; h.credentials().delete("T") }),
        ("TenantHandle::usage", ALL, |h| h.usage().map(drop)),
        ("TenantHandle::stats", ALL, |h| h.stats().map(drop)),
        ("TenantHandle::sweep", ALL, |h| h.sweep().map(drop)),
        ("TenantHandle::policy", ALL, |h| h.policy().map(drop)),
        ("TenantHandle::explain", ALL, |h| h.explain(Scopes::READ, None).map(drop)),
        ("TenantHandle::require", ALL, |h| h.require(Scopes::ADMIN)),
        ("TenantHandle::check", ALL, |h| h.check(Scopes::ALL)),
        ("TenantHandle::whoami", ALL, |h| h.whoami().map(drop)),
        ("TenantHandle::namespaces", ALL, |h| h.namespaces().map(drop)),
        ("TenantHandle::index_status", ALL, |h| h.index_status().map(drop)),
        ("TenantHandle::attenuate", ALL, |h| h.attenuate(&Attenuation::new()).map(drop)),
        ("TenantHandle::transact", ALL, |h| h.transact(|_| Ok(()))),
        ("TenantHandle::transact_once", ALL, |h| h.transact_once("job", |_| Ok(())).map(drop)),
        ("TransactionMemories::get", ALL, |h| h.transact(|t| t.memories("notes")?.get("k").map(drop))),
        ("TransactionMemories::exists", ALL, |h| h.transact(|t| t.memories("notes")?.exists("k").map(drop))),
        ("TransactionMemories::put", ALL, |h| h.transact(|t| t.memories("notes")?.put(new("k")).map(drop))),
        ("TransactionMemories::patch", ALL, |h| h.transact(|t| t.memories("notes")?.patch(&Patch::new("k", serde_json::json!({}))).map(drop))),
        ("TransactionMemories::delete", ALL, |h| h.transact(|t| t.memories("notes")?.delete("k"))),
        ("TransactionMemories::delete_version", ALL, |h| h.transact(|t| t.memories("notes")?.delete_version("k", 1))),
        ("TransactionMemories::delete_where", ALL, |h| h.transact(|t| t.memories("notes")?.delete_where(&Selection::all()).map(drop))),
        ("Audit::entries", ALL, |h| h.audit().entries(1, 1).map(drop)),
        ("Audit::verify", ALL, |h| h.audit().verify().map(drop)),
        ("ApiKeys::list", ALL, |h| h.api_keys().list().map(drop)),
        ("Memories::get", ALL, |h| notes(h)?.get("k").map(drop)),
        ("Memories::get_many", ALL, |h| notes(h)?.get_many(&["k"]).map(drop)),
        ("Memories::exists", ALL, |h| notes(h)?.exists("k").map(drop)),
        ("Memories::list", ALL, |h| notes(h)?.list(&List::new()).map(drop)),
        ("Memories::iter", ALL, |h| notes(h)?.iter(List::new()).collect::<Result<Vec<_>>>().map(drop)),
        ("Listing::next", ALL, |h| notes(h)?.iter(List::new()).next().transpose().map(drop)),
        ("Memories::count", ALL, |h| notes(h)?.count(&Selection::all()).map(drop)),
        ("Memories::recall", ALL, |h| notes(h)?.recall(&Recall::vector(&[1.0, 0.0])).map(drop)),
        ("recall_across", ALL, |h| recall_across(&[&notes(h)?], &Recall::vector(&[1.0, 0.0])).map(drop)),
        ("Memories::changes", ALL, |h| notes(h)?.changes(None, 10).map(drop)),
        ("Memories::check", ALL, |h| notes(h)?.check(Scopes::ALL)),
        ("Memories::info", ALL, |h| notes(h)?.info().map(drop)),
        ("Memories::create", ALL, |h| h.memories("fresh")?.create(&NamespaceSettings::new()).map(drop)),
        ("Memories::update", ALL, |h| notes(h)?.update(&NamespaceUpdate::new().description(Some("new".into()))).map(drop)),
        ("Memories::rename", ALL, |h| notes(h)?.rename("renamed").map(drop)),
        ("Memories::delete_namespace", ALL, |h| notes(h)?.delete_namespace().map(drop)),
        ("Memories::reembedding", ALL, |h| reembedding(h).map(drop)),
        ("Reembedding::step", ALL, |h| reembedding(h)?.step(embed).map(drop)),
        ("Reembedding::run", ALL, |h| reembedding(h)?.run(embed, |_| ControlFlow::Continue(())).map(drop)),
        ("Reembedding::step_by_embedder", ALL, by_embedder),
        ("Reembedding::cancel", ALL, |h| reembedding(h)?.cancel()),
        ("Memories::once", ALL, |h| notes(h)?.once("job")?.put(new("l")).map(drop)),
        ("Memories::put", ALL, |h| notes(h)?.put(new("l")).map(drop)),
        ("Memories::put_many", ALL, |h| notes(h)?.put_many(vec![new("l")]).map(drop)),
        ("Memories::patch", ALL, |h| notes(h)?.patch(&Patch::new("k", serde_json::json!({}))).map(drop)),
        ("Memories::delete", ALL, |h| notes(h)?.delete("k")),
        ("Memories::delete_version", ALL, |h| notes(h)?.delete_version("k", 1)),
        ("Memories::delete_where", ALL, |h| notes(h)?.delete_where(&Selection::all()).map(drop)),
    ]
}

struct Scene {
    world: World,
    alice: TenantHandle,
}

impl Scene {
    /// Everybody is an admin by the policy, and alice an owner.
    fn new() -> Self {
        let world = World::with_clock(Path::new("/data"), Arc::new(SimDisk::new(1)), Arc::new(SystemClock)).unwrap();
        world.provision("acme").unwrap();
        let alice = world.handle("acme", "alice").unwrap();
        notes(&alice).unwrap().put(Memory::new("k").text("old").vector(vec![1.0, 0.0])).unwrap();
        let policy = alice.policy().unwrap().assign(Principal::user(user("alice")), "owner").unwrap();
        let policy = policy.assign(Principal::Everyone, "admin").unwrap().detached_jobs(24 * HOUR).unwrap();
        alice.set_policy(&policy).unwrap();
        alice.api_keys().create(&ApiKeySpec::new("report").unwrap()).unwrap();
        Self { world, alice }
    }

    fn handle(&self, kind: Kind) -> TenantHandle {
        match kind {
            Whole => self.alice.clone(),
            Narrowed => {
                let less = Attenuation::new().operations(1_000).lifetime(Duration::from_secs(600));
                self.alice.attenuate(&less).unwrap()
            }
            Impersonating => {
                let acme = TenantId::new("acme").unwrap();
                let look = Impersonation::new(acme, user("alice"), "ticket 4711").scopes(Scopes::ALL);
                self.world.engine.tenant(&self.world.operator().impersonate(&look).unwrap()).unwrap()
            }
            Detached => self.alice.detach(HOUR).unwrap(),
            ApiKey => {
                let key = self.alice.api_keys().create(&ApiKeySpec::new("key").unwrap().scopes(Scopes::ALL)).unwrap();
                self.world.engine.tenant(&self.world.engine.verify(key.expose()).unwrap()).unwrap()
            }
        }
    }
}

#[test]
fn every_operation_is_for_the_kinds_of_handle_that_may_decide_it() {
    for kind in KINDS {
        for (operation, may, run) in table() {
            let scene = Scene::new();
            let handle = scene.handle(kind);
            let before = (scene.alice.policy().unwrap(), scene.alice.api_keys().list().unwrap());
            let answer = run(&handle);
            if may.contains(&kind) {
                answer.unwrap_or_else(|error| panic!("{operation} by {kind:?}: {error}"));
            } else {
                assert_eq!(*answer.expect_err(operation).reason(), Reason::NotFound, "{operation} by {kind:?}");
                let after = (scene.alice.policy().unwrap(), scene.alice.api_keys().list().unwrap());
                assert_eq!(after, before, "{operation} by {kind:?}");
            }
        }
    }
}

/// The operations of `tests/isolation.rs`, which is held against the source.
#[test]
fn every_operation_has_a_row() {
    let source = include_str!("isolation.rs");
    let (_, rest) = source.split_once("fn table()").unwrap();
    let (rows, _) = rest.split_once("\n}\n").unwrap();
    let is_operation = |text: &&str| *text == "recall_across" || (text.contains("::") && !text.contains(' '));
    let there: BTreeSet<&str> = rows.split('"').filter(is_operation).collect();
    let here: BTreeSet<&str> = table().into_iter().map(|(operation, ..)| operation).collect();
    assert_eq!(here, there);
}

#[test]
fn the_trail_says_why_a_handle_may_not_decide() {
    let scene = Scene::new();
    for (kind, why) in [
        (Narrowed, Refusal::Narrowed),
        (Detached, Refusal::Narrowed),
        (Impersonating, Refusal::Impersonated),
        (ApiKey, Refusal::ApiKey),
    ] {
        let handle = scene.handle(kind);
        let before = scene.alice.audit().verify().unwrap().entries;
        handle.set_policy(&scene.alice.policy().unwrap()).unwrap_err();
        let entries = scene.alice.audit().entries(before + 1, 10).unwrap();
        let told: Vec<_> = entries.iter().map(|entry| (entry.action, entry.outcome)).collect();
        let refused = AuditOutcome::Refused { needed: Scopes::ADMIN, why, times: 1 };
        assert_eq!(told, [(AuditAction::Attempt, refused)], "{kind:?}");
    }
    assert_eq!(scene.alice.require(Action::app("deploy")), Ok(()));
}
