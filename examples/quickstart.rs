//! Three tenants remember and recall real text, each only its own; then the refusals.
//!
//! Run with `cargo run --release --example quickstart`.

// The example plays the login server too, so it signs the tokens that it then verifies.
#[path = "support/sample.rs"]
mod sample;
#[path = "../tests/support/tokens.rs"]
mod tokens;

use std::error::Error;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokens::Signer;
use watertight::{
    Engine, Issuer, Jwks, JwtVerifier, Memory, Recall, RootKey, TenantHandle, TenantId, TenantSpec, UserId,
};

const ISSUER: &str = "https://login.example.org/";
const AUDIENCE: &str = "https://memory.example.org";

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let login = Signer::ed25519("2026-11", 1);
    let issuer = Issuer::new(ISSUER)?;
    let verifier = JwtVerifier::new(issuer.clone(), AUDIENCE, Jwks::from_json(&login.jwks_json())?)?.leeway(0)?;

    // An application keeps its root key: RootKey::from_env("WATERTIGHT_ROOT_KEY") or RootKey::from_file(..).
    let (engine, authority) =
        Engine::builder(directory.path().join("data")).root_key(RootKey::generate()?).verifier(verifier).open()?;

    heading("Provision: each tenant gets its own file and its own keys");
    let operator = engine.operator(&authority.attest_operator("ops@example.org")?)?;
    for tenant in sample::TENANTS {
        let owner = UserId::new(issuer.clone(), "alice")?;
        let info = operator.provision(TenantSpec::new(tenant)?.plan("pro").trusts(issuer.clone()).owner(owner))?;
        println!("  {tenant:<13} {}", info.incarnation);
    }
    // A tenant refuses tokens that are older than itself, and tokens count whole seconds.
    std::thread::sleep(Duration::from_millis(1_100));

    heading("Remember: a verified token opens one tenant, and only that one");
    for tenant in sample::TENANTS {
        let handle = sign_in(&engine, &login, tenant)?;
        let sample = sample::load(tenant)?;
        let started = Instant::now();
        let memories = sample.texts.iter().zip(sample.vectors).enumerate().map(|(number, (text, vector))| {
            Memory::new(format!("gloss-{number}")).text(text).metadata("source", "WordNet").vector(vector)
        });
        handle.memories("glosses")?.put_many(memories.collect())?;
        println!("  {tenant:<13} {} memories in {:.0?}", handle.usage()?.memories, started.elapsed());
    }

    heading("Recall: the same question to each tenant; only one of them has the answer");
    let questions = sample::questions()?;
    let (shared, rest) = questions.split_first().ok_or("no questions")?;
    println!("  ? {}", shared.text);
    for tenant in sample::TENANTS {
        ask(&sign_in(&engine, &login, tenant)?, shared, 1)?;
    }

    heading("Recall: each tenant's own questions");
    for question in rest.iter().step_by(3) {
        println!("  ? {}", question.text);
        ask(&sign_in(&engine, &login, &question.tenant)?, question, 3)?;
    }

    heading("Refusals");
    let [zoo, harbor, _] = sample::TENANTS;
    let mut stranger = claims(zoo);
    stranger["sub"] = json!("mallory");
    let handle = engine.tenant(&engine.verify(&login.token(&stranger))?)?;
    refused("a user without any scope", handle.memories("glosses")?.get("gloss-0"));

    let theirs = sign_in(&engine, &login, harbor)?.memories("plans")?;
    theirs.put(Memory::new("mooring").text("Berth 4, two lines fore and aft."))?;
    let handle = sign_in(&engine, &login, zoo)?;
    refused("another tenant's memory, by its exact key", handle.memories("plans")?.get("mooring"));

    let mut foreign = claims("no-such-tenant");
    refused("a tenant that does not exist", engine.tenant(&engine.verify(&login.token(&foreign))?));
    operator.provision(TenantSpec::new("trusts-nobody")?)?;
    foreign["tenant_id"] = json!("trusts-nobody");
    refused("a tenant that does not trust the issuer", engine.tenant(&engine.verify(&login.token(&foreign))?));

    let mut expired = claims(zoo);
    expired["iat"] = json!(now() - 7_200);
    expired["exp"] = json!(now() - 3_600);
    refused("an expired token", engine.verify(&login.token(&expired)));
    let forger = Signer::ed25519("2026-11", 2);
    refused("a forged token", engine.verify(&forger.token(&claims(zoo))));

    let live = sign_in(&engine, &login, harbor)?;
    operator.suspend(&TenantId::new(harbor)?)?;
    refused("a suspended tenant, on a live handle", live.usage());
    operator.purge(&TenantId::new(harbor)?)?;
    refused("a purged tenant, on the same handle", live.usage());
    println!("\nTheir neighbour goes on: {zoo} holds {} memories.", handle.usage()?.memories);
    Ok(())
}

/// What the login server says of alice, for an hour.
fn claims(tenant: &str) -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "tenant_id": tenant, "iat": now(), "exp": now() + 3_600})
}

/// From a bearer token to a handle: the way every request goes.
fn sign_in(engine: &Engine, login: &Signer, tenant: &str) -> watertight::Result<TenantHandle> {
    let identity = engine.verify(&login.token(&claims(tenant)))?;
    engine.tenant(&identity)
}

fn ask(handle: &TenantHandle, question: &sample::Question, top: usize) -> watertight::Result<()> {
    for hit in handle.memories("glosses")?.recall(&Recall::vector(&question.vector).top(top))? {
        let text = hit.memory.text.unwrap_or_default();
        println!("    {:<13} {:.2}  {text}", handle.id().as_str(), hit.score);
    }
    Ok(())
}

fn refused<T>(what: &str, outcome: watertight::Result<T>) {
    match outcome {
        Ok(_) => println!("  {what:<42} ACCEPTED, which must not happen"),
        Err(error) => println!("  {what:<42} {:?}: {error}", error.kind()),
    }
}

fn heading(text: &str) {
    println!("\n{text}");
}

/// Seconds since 1970, as tokens count them.
#[expect(clippy::disallowed_methods, reason = "the login server has a clock of its own")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
